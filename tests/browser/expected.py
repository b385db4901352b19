"""What cases of the check page expect, in whichever browser."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

from axe_playwright_python.sync_playwright import Axe

import media

class Looks:
    """How its page looks."""

    page = None

    def is_accessible(self, where):
        found = Axe().run(self.page).response["violations"]
        assert not found, f"{where}: " + json.dumps([[v["id"], [n["html"] for n in v["nodes"]]] for v in found])

    def fits(self, where):
        for width in (320, 1000):
            self.page.set_viewport_size({"width": width, "height": 900})
            self.picture(f"{where}-{width}")
            # Nothing is wider than its place, in the element either: a page may hide what overflows. The link past the menu waits outside,
            # and what is folded has its place in some browsers.
            over = self.page.evaluate("""() => {
              const all = (root) => [...root.querySelectorAll('*')].flatMap((one) => [one, ...(one.shadowRoot ? all(one.shadowRoot) : [])]);
              const wide = document.documentElement.clientWidth;
              return all(document).filter((one) => { if (one.matches('.skip') || !one.checkVisibility()) return false; const at = one.getBoundingClientRect(); return at.width > 0 && (at.right > wide + 0.5 || at.left < -0.5); })
                .map((one) => `${one.localName} ${one.textContent.slice(0, 60)}`);
            }""")
            over += ["the page"] if self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth") else []
            assert over == [], f"{where}: too wide at {width}: {over}"

    def picture(self, name):
        keep = os.environ.get("GREENROOM_SCREENSHOTS")
        if keep:
            self.page.screenshot(path=f"{keep}/{name.replace(' ', '-')}.png", full_page=True)


def run(cases, *how):
    """Runs those that the command line names, one after the other."""
    for name in sys.argv[1].split(","):
        began = time.monotonic()
        try:
            cases[name](*how)
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)


LANGUAGES = {"en": "Start the check", "de": "Prüfung starten", "es": "Empezar la comprobación", "ja": "チェックを始める", "ar": "ابدأ الفحص"}
# What is played where PulseAudio's microphone hears it, what the page says then, and the causes in the report.
MICROPHONES = [
    ("speech", "Your microphone works."),
    ("quiet", "You are hard to hear.", "mic_too_quiet"),
    ("clipped", "You are so loud that the sound is distorted.", "mic_clipping"),
    ("room", "The microphone is on, but we did not hear you speak.", "mic_nobody_spoke"),
    ("offset", "Your microphone works.", "mic_dc_offset"),
    ("muted", "There is no sound at all.", "mic_muted_in_software"),
]


@contextlib.contextmanager
def of_pulseaudio(sound):
    """The microphone hears this, or nothing where it is `muted`."""
    subprocess.run(["pactl", "set-source-mute", "mic", "1" if sound == "muted" else "0"], check=True)
    with media.playing(pathlib.Path(os.environ["GREENROOM_FOLDER"]), "speech" if sound == "muted" else sound):
        yield


HEADINGS = {
    "ready": "You are ready to join",
    "degraded": "You can join, with limits",
    "inconclusive": "We could not tell for sure",
    # Only the picture: sound gets through.
    "blocked": "You can join, with limits",
}


def wait_for(what, condition, seconds=30):
    """Waits for something that shows nowhere on a page."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def codes(report):
    return [cause["code"] for cause in report["verdict"]["causes"]]


def expect(condition, *told):
    assert condition, " ".join(map(str, told))


# A machine that is busy with other things draws fewer frames than its camera has, and sends late: that is told as its own fault. Over loopback what
# comes late is late by it, too.
OF_THE_MACHINE = {"camera_slow", "camera_uneven", "send_late", "disturbed", "no_kernel_timestamps", "encode_slow", "measurement_spoiled"}
OF_THE_MACHINE |= {f"{what}{way}" for what in ("late_loss", "pdv", "bufferbloat") for way in ("", "_up", "_down")}
# Fake cameras have 480 lines.
OF_THE_MACHINE |= {"camera_small"}


def good_but_for_the_machine(report, *besides):
    overall = report["verdict"]["overall"]
    found = set(codes(report)) - set(besides)
    expect(overall == "ready" or codes(report) and found <= OF_THE_MACHINE, json.dumps(report["verdict"]))
    expect(overall in HEADINGS, overall)


def nothing_lost(figures, at_least, *told):
    """Of the packets that went before the connection was filled: what a full queue drops is lost by that, and not told as loss."""
    loss = figures["loss_ratio"]
    expect(loss["state"] == "measured" and loss["n"] >= at_least and loss["value"] == 0, *told, json.dumps(figures))


def trial(report):
    """What became of the sound and picture that went to the endpoint and back."""
    target = next((target for target in report["targets"] if target["kind"] == "webrtc"), None)
    expect(target is not None, report["settings"]["run"])
    details = target["details"]
    ways = {("audio", way): target[way] for way in ("up", "down")} | {("video", one["direction"]): one for one in target["streams"]}
    print(json.dumps({"state": target["state"], "rtt_ms": target["rtt_ms"], "details": details}), file=sys.stderr)
    return target, details, ways


def counted(details, ways):
    """Each end's counts, joined: what one sent and the other one got."""
    for media in {media for media, _ in ways}:
        here, came, back = (next(one for one in some if one["media"] == media) for some in (details["here"], details["there"]["received"], details["there"]["returned"]))
        up, down = ways[media, "up"], ways[media, "down"]
        expect((up["sent"], up["on_time"]) == (here["sent_packets"], came["packets"]), media, up, here, came)
        expect((down["sent"], down["on_time"]) == (back["sent_packets"], here["received_packets"]), media, down, here, back)
        # What is sent back has no gaps of its own: the browser misses what was lost on the way back, but for the last ones.
        expect(down["lost"] - 1 <= here["lost"] <= down["lost"], media, down, here)
        # A browser that looks for a rate sends padding until it is stopped: what left after its count was taken came, or was lost, besides.
        besides = max(0, came["expected"] - up["sent"])
        expect(up["lost"] - 1 <= came["lost"] <= up["lost"] + besides, media, up, came)
        # Nothing was held back by the session's rates. Padding has nothing to send back.
        expect(back["planned_packets"] == back["sent_packets"] <= came["packets"], media, back, came)
        expect(came["repairs"] == 0 and (media == "video" or here["resent_packets"] == 0), media, here, came)


def dropped_by_nft():
    listed = json.loads(subprocess.run(["nft", "-j", "list", "table", "inet", "t"], check=True, capture_output=True).stdout)
    return [part["counter"]["packets"] for entry in listed["nftables"] for part in entry.get("rule", {}).get("expr", []) if "counter" in part]
