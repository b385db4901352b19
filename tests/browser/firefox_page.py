"""The check page in Debian's Firefox. Run by tests/check_page.rs: firefox_page.py CASE,CASE… with what it needs in the environment."""

import json
import os
import pathlib
import sys

import calls
import media
from expected import HEADINGS, LANGUAGES, MICROPHONES, Looks, codes, counted, dropped_by_nft, expect, good_but_for_the_machine, of_pulseaudio, run, trial, wait_for
from firefox import Firefox

BASE = os.environ["GREENROOM_BASE"]
FOLDER = pathlib.Path(os.environ["GREENROOM_FOLDER"])
FAKE_DEVICES = {"media.navigator.streams.fake": True}
# PulseAudio's, heard instead of the fake one, whose tone is nobody's voice.
MICROPHONE = {"media.audio_loopback_dev": "mic"}
ALLOWED, DENIED = ({f"permissions.default.{kind}": answer for kind in ("camera", "microphone")} for answer in (1, 2))
LIGHT, DARK = ({"layout.css.prefers-color-scheme.content-override": scheme} for scheme in (1, 0))
# As on a computer that has nothing to play a sound by.
NO_OUTPUT = {"media.cubeb.force_null_context": True}
NO_WEB_TRANSPORT = {"network.webtransport.enabled": False}

# What is looked for on the page, as it is seen, for a minute at most.
FIND = """(look) => new Promise((resolve) => {
  const root = () => document.querySelector('greenroom-check')?.shadowRoot;
  const until = performance.now() + 60_000;
  const again = () => {
    const found = root() && look(root());
    if (found || performance.now() > until) resolve(found || null);
    else setTimeout(again, 50);
  };
  again();
})"""
TEXT = "(root) => root.querySelector('[part~=main]')?.innerText ?? ''"


class Check(Looks):
    """The page, in a tab of its own."""

    def __init__(self, browser, query="for=audio", start="Start the check"):
        self.errors = browser.errors
        self.page = browser.page(f"{BASE}/check?{query}")
        self.shows(start)
        self.page.evaluate("""() => {
          const told = (name) => new Promise((resolve) => { document.querySelector('greenroom-check').addEventListener(name, ({ detail }) => resolve(detail)); });
          window.came = Promise.race([told('verdict').then(({ report }) => report), told('error')]).then(JSON.stringify);
        }""")

    def find(self, look):
        return f"() => ({FIND})({look})"

    def click(self, name):
        """Clicks a button once it is there and may be clicked."""
        named = f"(one) => one.textContent === {json.dumps(name)} && one.checkVisibility() && !one.disabled"
        self.page.click(self.find(f"(root) => [...root.querySelectorAll('button')].find({named})"))

    def shows(self, text):
        shown = self.page.evaluate(self.find(f"(root) => ({TEXT})(root).includes({json.dumps(text)})"))
        expect(shown, text, "is not in:", self.text())

    def text(self):
        return self.page.evaluate(f"() => ({TEXT})(document.querySelector('greenroom-check').shadowRoot)")

    def warm_camera(self):
        """Firefox's own camera shows one color that changes, but for its first 26 pictures: a stream is handed over behind these."""
        self.page.evaluate("""() => {
          const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = async (wanted) => {
            const stream = await open(wanted);
            if (stream.getVideoTracks().length === 0) return stream;
            const video = Object.assign(document.createElement('video'), { srcObject: stream, muted: true });
            await video.play();
            for (let n = 0; n < 30; n += 1) await new Promise((resolve) => { video.requestVideoFrameCallback(resolve); });
            return stream;
          };
        }""")

    def unfold(self):
        self.page.click("() => document.querySelector('greenroom-check').shadowRoot.querySelector('summary')")

    def finish(self, answer="Skip this"):
        """Answers the question about the speaker and returns the report that the server gave back."""
        if answer == "Skip this":
            self.click(answer)
        elif answer:
            self.click("Play a sound")
            self.click(answer)
        report = json.loads(self.page.evaluate("() => window.came"))
        expect("verdict" in report, report, self.text())
        self.shows(report["code"])
        return report

    def run(self, answer="Skip this"):
        self.click("Start the check")
        return self.finish(answer)

    def close(self):
        self.page.close()


def good():
    """By WebTransport, with a camera of Firefox's own and a microphone that somebody speaks into; then the trial call."""
    with media.playing(FOLDER, "speech"), Firefox(FAKE_DEVICES | MICROPHONE | ALLOWED | LIGHT) as browser:
        check = Check(browser, "for=720p")
        check.is_accessible("the beginning")
        check.fits("firefox beginning")
        check.warm_camera()
        report = check.run("Yes")
        # What its own queues drop is told as loss; how much that may be stands below.
        good_but_for_the_machine(report, "loss_up", "loss_down")
        check.shows(HEADINGS[report["verdict"]["overall"]])
        for text in ("Your camera works.", "Your microphone works.", "Your speaker works."):
            check.shows(text)
        check.click("Hear yourself")
        check.shows("This is about how others hear you.")
        check.shows("That was about how others hear you.")
        check.unfold()
        check.is_accessible("the result")
        check.fits("firefox result")
        expect(check.errors == [], check.errors)
    target = report["targets"][0]
    if "disturbed" not in codes(report):
        expect(target["state"]["transport"] == "webtransport", target["state"])
        for way in ("up", "down"):
            # Nothing is dropped on the way. Firefox's own queues hold ten datagrams (mozilla/neqo#1373): held up for a moment, it may drop one.
            loss = target[way]["loss_ratio"]
            expect(loss["state"] == "measured" and loss["n"] >= 300 and loss["value"] <= 0.01, way, json.dumps(target[way]))
            expect(target[way]["capacity_bps"]["value"] > 1e6, way, target[way]["capacity_bps"])
        expect(0 < target["rtt_ms"]["p50"] < 1_000, target["rtt_ms"])
        expect(report["verdict"]["uses"]["video_720p"]["state"] != "not_tested", report["verdict"]["uses"])
        expect({(stream["use"], stream["direction"]) for stream in target["streams"]} == {("video_720p", "up"), ("video_720p", "down")}, target["streams"])
    devices = report["devices"]
    expect(devices["cameras"][0]["frames"]["rate_fps"]["value"] > 5, devices["cameras"])
    expect(devices["microphones"][0]["sound"]["heard"]["value"] == "speech", devices["microphones"])
    machine = report["host"]["machine"]
    encoded = {one["use"]: one["times_real_time"]["value"] for one in machine["encode"]}
    expect(set(encoded) == {"video_360p", "video_720p"} and min(encoded.values()) > 0, encoded)
    able = report["settings"]["run"]["browser"]
    expect(able["can"]["secure_context"] and able["can"]["cross_origin_isolated"] and able["clock_step_us"] <= 100, able)
    # Without a window it has no WebGL here.
    drawing = {one["renderer"]: one for one in able["drawing"]}
    expect(set(drawing) == {"canvas", "webgl", "webgpu"} and drawing["canvas"]["times_real_time"] > 0, drawing)
    expect((able["effects"]["times_real_time"] is None) == (drawing["webgl"]["times_real_time"] is None), able)
    _, details, ways = trial(report)
    counted(details, ways)
    print(json.dumps({"rtt_ms": target["rtt_ms"], "encoded": encoded, "browser": able, "codes": codes(report)}), file=sys.stderr)


def clean_call():
    """A running call, watched by monitor.js, as in Chromium."""
    with media.playing(FOLDER, "speech"), Firefox(FAKE_DEVICES | MICROPHONE | ALLOWED | LIGHT) as browser:
        calls.cases(Check, expect, wait_for)["clean_call"](browser)


def denied():
    """What is blocked for the page is told before anybody clicks, and judged as that."""
    with Firefox(FAKE_DEVICES | DENIED | DARK) as browser:
        check = Check(browser)
        check.shows("is blocked for this page from before. Click the crossed-out icon to the left of the address")
        report = check.run()
        check.shows("The camera is blocked for this page.")
        check.shows("The microphone is blocked for this page.")
        check.unfold()
        check.is_accessible("denied")
        check.fits("firefox denied")
        expect(check.errors == [], check.errors)
    expect(report["verdict"]["overall"] == "permission_denied", json.dumps(report["verdict"]))
    expect("device_permission_browser" in codes(report), codes(report))
    expect(report["verdict"]["uses"]["audio"]["state"] == "permission_denied", report["verdict"]["uses"])


def without_output():
    """Firefox listens only where it can play, too: that is no fault of the microphone."""
    with Firefox(FAKE_DEVICES | ALLOWED | LIGHT | NO_OUTPUT) as browser:
        check = Check(browser, "for=audio&devices=microphone speaker")
        check.click("Start the check")
        check.click("Play a sound")
        report = json.loads(check.page.evaluate("() => window.came"))
        check.shows("This browser listens only where it can also play sound.")
        check.shows("This browser could not play a sound.")
        check.fits("firefox without output")
        expect(check.errors == [], check.errors)
    expect("device_stalled" not in codes(report) and "device_unknown" in codes(report), codes(report))


def missing():
    """No camera and no microphone."""
    with Firefox(ALLOWED | LIGHT) as browser:
        check = Check(browser)
        report = check.run()
        check.shows("No camera was found.")
        check.shows("No microphone was found.")
        expect(check.errors == [], check.errors)
    expect("device_not_found" in codes(report), codes(report))


def webrtc_with_losses():
    """A Firefox that knows no WebTransport measures over UDP all the same: of the packets that are dropped on the way up, each is told."""
    with Firefox(ALLOWED | LIGHT | NO_WEB_TRANSPORT) as browser:
        check = Check(browser, "for=audio&devices=speaker")
        report = check.run()
        dropped = dropped_by_nft()
        expect(check.errors == [], check.errors)
    target, told = report["targets"][0], report["settings"]["run"]
    expect(told.get("connection_over_webrtc") == "unsupported", told, target["state"])
    expect("udp_blocked" not in codes(report), codes(report))
    print(json.dumps({"dropped": dropped, "up": target["up"], "down": target["down"], "rtt_ms": target["rtt_ms"], "run": told}), file=sys.stderr)
    if "disturbed" not in codes(report):
        expect(target["state"]["transport"] == "webrtc" and target["state"]["instead_of_udp"] is None, target["state"])
        expect(0 < target["rtt_ms"]["p50"] < 1_000, target["rtt_ms"])
        lost = target["up"]["lost"]
        # A few of them were keys.
        expect(dropped[0] - 4 <= lost <= dropped[0] and lost >= 25, lost, dropped)
        expect(target["down"]["lost"] == 0, json.dumps(target["down"]))


def over_tcp():
    """UDP gets nowhere: the WebSocket of the page's own server carries the packets, and is called what it is."""
    with Firefox(ALLOWED | LIGHT) as browser:
        check = Check(browser, "for=audio&devices=speaker")
        check.click("Start the check")
        check.shows("Only the slower way over TCP works here")
        report = check.finish()
        expect("Lost on the way" not in check.text(), check.text())
    target = report["targets"][0]
    expect(target["state"]["transport"] == "websocket", target["state"])
    expect(target["state"]["instead_of_udp"] == {"code": "udp_blocked", "works": "https"}, target["state"])
    if "disturbed" not in codes(report):
        expect(target["rtt_ms"]["p50"] > 0, target["rtt_ms"])
        for way in ("up", "down"):
            expect(target[way]["planned"] == 150 and target[way]["on_time"] > 0, target[way])
            expect(target[way]["loss_ratio"]["state"] == "not_tested", target[way]["loss_ratio"])
    expect("udp_blocked" in codes(report) and report["verdict"]["overall"] != "ready", json.dumps(report["verdict"]))


def microphones():
    """Faults of a microphone by a real path of sound, as in Chromium."""
    with Firefox(FAKE_DEVICES | MICROPHONE | ALLOWED | LIGHT) as browser:
        for sound, text, *told in MICROPHONES:
            with of_pulseaudio(sound):
                check = Check(browser, "for=audio&devices=microphone")
                check.click("Start the check")
                report = check.finish(answer=None)
            check.shows(text)
            expect(codes(report) == told, sound, codes(report), report["devices"]["microphones"])
            check.close()
        expect(browser.errors == [], browser.errors)


def languages():
    """Each at 320 pixels: nothing is too wide, no place is left open, and nothing is left in English."""
    with Firefox(FAKE_DEVICES | DENIED | LIGHT) as browser:
        for language, start in LANGUAGES.items():
            check = Check(browser, f"for=audio&devices=camera microphone&lang={language}", start)
            check.fits(f"firefox beginning {language}")
            check.click(start)
            report = check.finish(answer=None)
            text = check.text()
            english = [sentence for cause in report["verdict"]["causes"] for sentence in (cause["say"], cause["fix"]) if sentence]
            expect(language == "en" or not any(sentence in text for sentence in english), language, text)
            expect("{" not in text and "undefined" not in text, language, text)
            check.is_accessible(f"the result in {language}")
            check.fits(f"firefox result {language}")
            check.close()
        expect(browser.errors == [], browser.errors)


run({case.__name__: case for case in (good, clean_call, denied, missing, without_output, webrtc_with_losses, over_tcp, microphones, languages)})
