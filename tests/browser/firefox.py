"""Debian's Firefox, driven by WebDriver BiDi (W3C), which it speaks itself over a WebSocket. What a page can do here has Playwright's names, as far
as cases of both browsers need it."""

import base64
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

from websockets.sync.client import connect

FIREFOX = os.environ.get("GREENROOM_FIREFOX", "/usr/bin/firefox-esr")
START_S = 60
ANSWER_S = 120
END_S = 20


class Firefox:
    """One browser with a profile of its own: its devices and protocols are preferences."""

    def __init__(self, preferences):
        self.folder = tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True)
        home = pathlib.Path(self.folder.name)
        (home / "profile").mkdir()
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items())
        (home / "profile" / "user.js").write_text("".join(lines))
        self.said = home / "said"
        command = [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", home / "profile", "about:blank"]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(command, env=os.environ | {"HOME": str(home)}, stdout=said, stderr=said)
        self.socket = None
        self.last = 0
        self.errors = []
        try:
            self.socket = connect(f"{self._address()}/session", max_size=None, open_timeout=START_S, proxy=None)
            self.ask("session.new", capabilities={})
            self.ask("session.subscribe", events=["log.entryAdded"])
        except BaseException:
            self.close()
            raise

    def _address(self):
        """Where it listens, as it says on starting."""
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(r"WebDriver BiDi listening on (ws://\S+)", self.said.read_text())
            if found:
                return found.group(1)
            time.sleep(0.02)
        raise AssertionError(f"{FIREFOX} does not listen ({self.process.poll()}): {self.said.read_text()}")

    def ask(self, method, **params):
        """Sends a command and gives its answer; errors of pages that come meanwhile are kept."""
        self.last += 1
        self.socket.send(json.dumps({"id": self.last, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv(timeout=ANSWER_S))
            if said.get("method") == "log.entryAdded" and said["params"]["level"] == "error":
                self.errors.append(said["params"]["text"])
            if said.get("id") != self.last:
                continue
            if said["type"] == "error":
                raise AssertionError(f"{method}: {said['error']}: {said['message']}")
            return said["result"]

    def page(self, url):
        """A new tab."""
        page = Page(self, self.ask("browsingContext.create", type="tab")["context"])
        page.goto(url)
        return page

    def close(self):
        try:
            if self.socket:
                self.ask("browser.close")
                self.socket.close()
                self.process.wait(END_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Page:
    def __init__(self, browser, context):
        self.browser = browser
        self.context = context

    def goto(self, url):
        self.browser.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def evaluate(self, script, arg=None):
        """What an expression gives, or a function that it is, as JSON has it; promises are waited for."""
        told = self._told("script.evaluate", expression=script, resultOwnership="root")
        if told["type"] in ("function", "object", "array"):
            # As text: of what stands in it twice WebDriver tells the second one by a number alone.
            text = "async (it, arg) => JSON.stringify(typeof it === 'function' ? await it(JSON.parse(arg)) : it)"
            told = self.call(text, {"handle": told["handle"]}, {"type": "string", "value": json.dumps(arg)})
            return json.loads(told.get("value", "null"))
        return told.get("value")

    def call(self, function, *args):
        """What a function gives, as WebDriver tells it; so are its arguments."""
        return self._told("script.callFunction", functionDeclaration=function, arguments=list(args))

    def _told(self, method, **params):
        answer = self.browser.ask(method, target={"context": self.context}, awaitPromise=True, **params)
        if answer["type"] == "exception":
            raise AssertionError(answer["exceptionDetails"]["text"])
        return answer["result"]

    def click(self, find):
        """Clicks as a mouse does on what a function gives."""
        element = self.call(find)
        assert element["type"] == "node", f"nothing to click: {find}"
        self.call("(element) => element.scrollIntoView({ block: 'center' })", {"sharedId": element["sharedId"]})
        move = {"type": "pointerMove", "x": 0, "y": 0, "origin": {"type": "element", "element": {"sharedId": element["sharedId"]}}}
        press = [move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.browser.ask("input.performActions", context=self.context, actions=[{"type": "pointer", "id": "mouse", "actions": press}])

    def close(self):
        self.browser.ask("browsingContext.close", context=self.context)

    def set_viewport_size(self, size):
        self.browser.ask("browsingContext.setViewport", context=self.context, viewport=size)

    def screenshot(self, path, full_page):
        shot = self.browser.ask("browsingContext.captureScreenshot", context=self.context, origin="document" if full_page else "viewport")
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))
