"""The dashboard of a demonstration in a real browser. Arguments: its address, the value of an admin's session cookie, a folder for
screenshots."""

import sys

from playwright.sync_api import sync_playwright

from looks import Looks

BASE, SESSION, SHOTS = sys.argv[1:4]
PAGES = ("fleet", "fleet?range=month", "reports", "incidents", "alerts", "agents", "schedules", "people", "keys", "links", "audit", "account")


def look_around(browser):
    looks_right = Looks(SHOTS)
    context = browser.new_context()
    name, value = SESSION.split("=", 1)
    context.add_cookies([{"name": name, "value": value, "url": BASE}])
    page = context.new_page()
    faults = []
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    for path in PAGES:
        answer = page.goto(f"{BASE}/{path}")
        assert answer.status == 200, f"/{path}: {answer.status}"
        looks_right(page, path.replace("?", "-").replace("=", "-"))
    for path, first in (("incidents", "/incidents/"), ("reports", "/reports/"), ("agents", "/agents/")):
        page.goto(f"{BASE}/{path}")
        page.locator(f"main a[href^='{first}']").first.click()
        page.wait_for_load_state()
        assert first in page.url, page.url
        looks_right(page, first.strip("/") + "-one")
    # The whole menu of an admin of the first tenant, on one line.
    for width in (1200, 1280, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        middles = page.evaluate("[...document.querySelectorAll('body > nav > *')].map((one) => one.getBoundingClientRect()).map((at) => (at.top + at.bottom) / 2)")
        assert max(middles) - min(middles) < 5, f"the menu takes more than a line at {width}: {middles}"
    assert not faults, faults
    context.close()


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    look_around(browser)
    browser.close()
