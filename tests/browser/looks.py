"""How a page of the dashboard looks: its accessibility, its width, and pictures of it."""

from axe_playwright_python.sync_playwright import Axe

SERIOUS = ("serious", "critical")


class Looks:
    """Called with a page and a name: no fault of accessibility, nothing wider than the window at 320 px, and a picture in light and
    dark."""

    def __init__(self, shots):
        self.shots = shots

    def __call__(self, page, name):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": 1280, "height": 800})
            page.screenshot(path=f"{self.shots}/{name}-{scheme}.png", full_page=True)
            found = [fault for fault in Axe().run(page).response["violations"] if fault["impact"] in SERIOUS]
            assert not found, f"{name} ({scheme}): {[(fault['id'], fault['nodes'][0]['html']) for fault in found]}"
            page.set_viewport_size({"width": 320, "height": 640})
            page.screenshot(path=f"{self.shots}/{name}-{scheme}-320.png", full_page=True)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 320, f"{name} ({scheme}) is {width} px wide at 320"
        page.set_viewport_size({"width": 1280, "height": 800})
