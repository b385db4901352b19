"""The person at the check page in each situation of situations.toml. Run by greenroom-netlab's `page::situations`, within the link's own network:
on each line of its input a list of situations that go on at once, on each line of its output what came of them. It does not know the labels."""

import json
import os
import signal
import subprocess
import sys

from playwright.sync_api import sync_playwright

from check_page import Browsers, Check, admin, newest, set_permissions, wait_for

# The other end's network, whose packets can be dropped there.
THERE = os.environ["GREENROOM_THERE"]
PERMISSIONS = {"granted": ["camera", "microphone"], "camera_denied": ["microphone"], "taken_back": ["camera", "microphone"]}
HOUR_MS = 3_600_000
# Pages with devices have to be secure, which addresses of the link are not.
FLAGS = (f"--unsafely-treat-insecure-origin-as-secure={os.environ['GREENROOM_BASES']}",)

# What a page opens it is to close: noted as it is made. Who has little data is not asked for more of it: the connection is not filled. How fast this
# computer encodes is no part of a situation.
WATCH = """(() => {
  if (window !== top) return;
  const open = new Set();
  const noted = (name, ends) => {
    const Real = window[name];
    if (!Real) return;
    window[name] = class extends Real {
      constructor(...all) { super(...all); open.add(this); this.made = name; }
      [ends](...all) { open.delete(this); return super[ends](...all); }
    };
  };
  noted('Worker', 'terminate');
  noted('RTCPeerConnection', 'close');
  noted('AudioContext', 'close');
  const media = navigator.mediaDevices;
  const tracks = [];
  window.situation = {
    tracks,
    open: () => [...[...open].map((one) => one.made), ...tracks.filter((track) => track.readyState === 'live').map((track) => track.kind)],
  };
  if (media) {
    const get = media.getUserMedia.bind(media);
    media.getUserMedia = async (wanted) => {
      await window.situation.before?.(wanted);
      const stream = await get(wanted);
      tracks.push(...stream.getTracks());
      return stream;
    };
  }
  delete window.VideoEncoder;
  Object.defineProperty(Object.getPrototypeOf(navigator.connection ?? {}), 'saveData', { get: () => true, configurable: true });
})();"""

REFUSED = """situation.before = (wanted) => {
  if (%s) throw new DOMException('%s', '%s');
};"""

# As a browser does it when a plug is pulled.
UNPLUG = """(kind) => {
  for (const track of situation.tracks.filter((one) => one.kind === kind)) {
    track.stop();
    track.dispatchEvent(new Event('ended'));
  }
}"""

HIDE = "Object.defineProperty(document, 'hidden', { value: true }); document.dispatchEvent(new Event('visibilitychange'))"

STEP = """((step) => {
  const Real = Date;
  self.Date = class extends Real {
    constructor(...all) { all.length ? super(...all) : super(Real.now() + step); }
    static now() { return Real.now() + step; }
  };
  return Date.now();
})(%d)"""

WATCH_THE_END = """() => {
  const element = document.querySelector('greenroom-check');
  const began = performance.now();
  for (const name of ['verdict', 'error']) element.addEventListener(name, () => { situation.took ??= performance.now() - began; });
}"""


def missing(pattern):
    return lambda check: check.page.route(pattern, lambda route: route.fulfill(status=404, body=""))


def refused(when, message, name):
    return lambda check: check.page.add_init_script(REFUSED % (when, message, name))


class Situation:
    """One of them, from the open page to its end."""

    BEFORE = {
        "worker_missing": missing("**/check/network-worker.js"),
        "script_missing": missing("**/check/camera.js"),
        "camera_in_use": refused("wanted.video", "Could not start video source", "NotReadableError"),
    }

    def __init__(self, browsers, told):
        self.told = told
        self.permission = told["permission"]
        self.meanwhile = told["meanwhile"]
        devices = told["asks"].replace(" ", "%20")
        permissions = PERMISSIONS.get(self.permission, []) if told["devices"] and self.permission != "system" else None
        how = {"flags": FLAGS, "sound": told["microphone"], "picture": told["camera"], "devices": told["devices"]}
        # A page that may use devices is asked nothing; what is denied is denied by the browser itself.
        how["answers"] = self.permission in ("granted", "system")
        self.admin = admin(browsers, **how) if self.meanwhile == "closed" else None
        self.known = newest(self.admin) if self.admin else None
        self.check = Check(browsers, permissions=permissions, at=f"{told['base']}/check?for={told['wanted']}&devices={devices}", before=self.before, **how)
        if self.permission == "dismissed":
            set_permissions(self.check, "prompt")

    def before(self, check):
        check.page.add_init_script(WATCH)
        if not self.told["trial"]:
            check.page.route("**/check/rtc", lambda route: route.fulfill(status=503, body=""))
        if self.permission == "system":
            refused("true", "Permission denied by system", "NotAllowedError")(check)
        self.BEFORE.get(self.meanwhile, lambda _: None)(check)

    def start(self):
        self.check.button("Start the check").wait_for()
        self.check.page.evaluate(WATCH_THE_END)
        self.check.start()

    def happen(self):
        """What happens meanwhile."""
        page = self.check.page
        if self.meanwhile in ("hidden", "clock_forward", "clock_back", "blackout", "cut_off", "server_gone"):
            self.check.shows("Sending small packets")
        if self.meanwhile == "hidden":
            page.evaluate(HIDE)
        if self.meanwhile.startswith("clock"):
            for one in (page, *page.workers):
                one.evaluate(STEP % (HOUR_MS if self.meanwhile == "clock_forward" else -24 * HOUR_MS))
        if self.meanwhile in ("camera_unplugged", "microphone_unplugged"):
            self.check.shows("Looking at the picture.")
            page.evaluate(UNPLUG, "video" if self.meanwhile == "camera_unplugged" else "audio")
        if self.permission == "taken_back":
            self.check.shows("Looking at the picture.")
            self.check.context.clear_permissions()
        # How long packets have run by then is what the situation is about.
        if self.meanwhile in ("blackout", "cut_off", "server_gone"):
            seconds(page, 2)
        if self.meanwhile in ("blackout", "cut_off"):
            drop_udp()
        if self.meanwhile == "blackout":
            seconds(page, 0.4)
            let_udp_through()
        if self.meanwhile == "server_gone":
            os.kill(self.told["server"], signal.SIGKILL)

    def finish(self):
        """Answers the question about the speaker; what came of it all."""
        check = self.check
        if self.meanwhile == "closed":
            check.button("Play a sound").wait_for()
            check.page.goto("about:blank")
            return {"report": wait_for("a partial report", self.newer), "took_s": None, "said": "", "wrong": []}
        again = check.button("Check again")
        if "speaker" in self.told["asks"]:
            play = check.button("Play a sound")
            play.or_(again).first.wait_for()
            if play.is_visible():
                play.click()
                check.button(self.told["answer"]).click()
        again.wait_for()
        if self.meanwhile == "cut_off":
            let_udp_through()
        element = "document.querySelector('greenroom-check')"
        report = check.page.evaluate(f"{element}.report()")
        said = check.page.evaluate(f"{element}.shadowRoot.querySelector('[part~=verdict]').innerText")
        # An end is an end of everything that the page has opened.
        left = self.still_open()
        wrong = [f"still open: {', '.join(left)}"] if left else []
        wrong += [f"does not say: {text}" for text in self.told["says"] if check.page.get_by_text(text).count() == 0]
        wrong += self.looks()
        took_ms = check.page.evaluate("situation.took")
        return {"report": report, "took_s": took_ms and took_ms / 1000, "said": said, "wrong": wrong}

    def newer(self):
        """The report that was not there before."""
        found = newest(self.admin)
        return found if found and found["id"] != (self.known or {}).get("id") else None

    def still_open(self):
        try:
            wait_for("everything is closed", lambda: self.check.page.evaluate("situation.open().length === 0"), 5)
        except AssertionError:
            return self.check.page.evaluate("situation.open()")
        return []

    def looks(self):
        try:
            self.check.fits(self.told["name"])
        except AssertionError as error:
            return [str(error)]
        return []

    def close(self):
        self.check.close()
        if self.admin:
            self.admin.context.close()


def seconds(page, n):
    page.evaluate("(ms) => new Promise((done) => setTimeout(done, ms))", n * 1000)


ENDS = [["nft"], ["ip", "netns", "exec", THERE, "nft"]]


def drop_udp():
    """Where it arrives, at both ends: who sends is not told."""
    at_both("add table inet cut; add chain inet cut c { type filter hook input priority 0; }; add rule inet cut c meta l4proto udp drop")


def let_udp_through():
    at_both("delete table inet cut")


def at_both(rules):
    for done in [subprocess.Popen([*end, rules]) for end in ENDS]:
        assert done.wait() == 0, rules


def forget(browsers):
    """Each fault of a device is a browser of its own: those that are not needed again go."""
    for key in [key for key in browsers.running if key[:2] != ("speech", "moving")]:
        browsers.running.pop(key).close()


def main():
    with sync_playwright() as playwright:
        browsers = Browsers(playwright)
        for line in sys.stdin:
            all_of_them = [Situation(browsers, told) for told in json.loads(line)]
            for step in (Situation.start, Situation.happen):
                for one in all_of_them:
                    step(one)
            found = [one.finish() for one in all_of_them]
            for one in all_of_them:
                one.close()
            forget(browsers)
            print(json.dumps(found), flush=True)


main()
