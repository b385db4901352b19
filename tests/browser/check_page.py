"""The check page in Debian's Chromium. Run by tests/check_page.rs: check_page.py CASE,CASE… with what it needs in the environment. Faults of
devices, permissions and networks, and what is said of each, are in situations.py."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from playwright.sync_api import sync_playwright

import besides
import calls
import media
import vectors
from expected import HEADINGS, LANGUAGES, MICROPHONES, Looks, codes, counted, dropped_by_nft, expect, good_but_for_the_machine, nothing_lost, of_pulseaudio, run, trial, wait_for

CHROMIUM = os.environ.get("GREENROOM_CHROMIUM", "/usr/bin/chromium")
BASE = os.environ["GREENROOM_BASE"]
# A page of another site: `/` embeds the element, `/frame` embeds the page.
EMBEDDER = os.environ.get("GREENROOM_EMBEDDER", "")
FOLDER = pathlib.Path(os.environ["GREENROOM_FOLDER"])
PATIENCE_MS = 60_000
FAKE_DEVICES = "--use-fake-device-for-media-stream"
# Playwright's own flag for permissions is what the cases of permissions are about.
FAKE_ANSWER = "--use-fake-ui-for-media-stream"
# Two letters of each that Latin fonts do not have, and whether they are drawn: what no font has looks alike.
LETTERS = {"ja": "検始", "ar": "فح"}
DRAWN = """(letters) => {
  const drawn = letters.map((letter) => {
    const context = Object.assign(document.createElement('canvas'), { width: 40, height: 40 }).getContext('2d');
    context.font = '24px sans-serif';
    context.fillText(letter, 4, 30);
    return context.getImageData(0, 0, 40, 40).data.join();
  });
  return new Set(drawn).size === letters.length;
}"""
DONE = {"en": "Check again", "de": "Noch einmal prüfen", "es": "Comprobar otra vez", "ja": "もう一度チェックする", "ar": "افحص مرة أخرى"}


class Browsers:
    """One browser for each way to start one: its devices are flags."""

    def __init__(self, playwright):
        self.playwright = playwright
        self.running = {}

    def one(self, sound="speech", picture="moving", flags=(), devices=True, answers=True, audible=False):
        key = (sound, picture, tuple(flags), devices, answers, audible)
        if key not in self.running:
            args = ["--no-sandbox", "--webtransport-developer-mode", *flags]
            if devices:
                args.append(FAKE_DEVICES)
                args.append(f"--use-file-for-fake-audio-capture={media.make(FOLDER, 'sound', sound)}")
                args.append(f"--use-file-for-fake-video-capture={media.make(FOLDER, 'picture', picture)}")
            if answers:
                args.append(FAKE_ANSWER)
            ignored = ["--mute-audio"] if audible else []
            self.running[key] = self.playwright.chromium.launch(executable_path=CHROMIUM, args=args, ignore_default_args=ignored)
        return self.running[key]


class Check(Looks):
    """The page, in a context of its own."""

    def __init__(self, browsers, permissions=None, at=None, query="for=audio", width=1000, before=None, **how):
        answers = how.pop("answers", permissions is None)
        self.browser = browsers.one(answers=answers, **how)
        options = {"viewport": {"width": width, "height": 1000}, "accept_downloads": True, "locale": "en-US"}
        self.context = self.browser.new_context(**options, permissions=permissions or [])
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.set_default_timeout(PATIENCE_MS)
        if before:
            before(self)
        self.page.goto(at or f"{BASE}/check?{query}")

    def start(self):
        self.button("Start the check").click()

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def shows(self, text):
        self.page.get_by_text(text).first.wait_for()

    def finish(self, answer="Skip this"):
        """Answers the question about the speaker and returns the report."""
        with self.page.expect_response(lambda response: response.url.endswith("/api/v1/runs") and response.request.method == "POST") as waiting:
            if answer == "Skip this":
                self.button(answer).click()
            elif answer:
                self.button("Play a sound").click()
                self.button(answer).click()
        response = waiting.value
        assert response.status == 201, f"{response.status} {response.text()}"
        report = response.json()
        self.page.get_by_text(report["code"]).wait_for()
        return report

    def run(self, answer="Skip this"):
        self.start()
        return self.finish(answer)

    def close(self):
        self.context.close()


def good(browsers):
    check = Check(browsers, permissions=["camera", "microphone"], answers=True, query="for=720p")
    check.button("Start the check").wait_for()
    for scheme in ("light", "dark"):
        check.page.emulate_media(color_scheme=scheme)
        check.is_accessible(f"the beginning, {scheme}")
    check.fits("the beginning")
    # By the keyboard alone.
    check.button("Start the check").focus()
    check.page.keyboard.press("Enter")
    check.button("Play a sound").wait_for()
    check.is_accessible("the question")
    check.fits("the question")
    report = check.finish("Yes")
    overall = report["verdict"]["overall"]
    good_but_for_the_machine(report)
    check.shows(HEADINGS[overall])
    check.shows("Your camera works.")
    check.shows("Your microphone works.")
    check.shows("Your speaker works.")
    focused = check.page.evaluate("document.querySelector('greenroom-check').shadowRoot.activeElement?.getAttribute('part')")
    spoken = check.page.evaluate("document.querySelector('greenroom-check').shadowRoot.querySelector('.spoken').textContent")
    expect(HEADINGS[overall] in spoken and report["verdict"]["say"] in spoken, spoken)
    expect(focused == "card verdict", "the result has the focus, so that it is read out", focused)
    check.page.get_by_text("Computer and browser").click()
    check.shows("Encoding 360p")
    check.shows("Camera at 720p")
    for scheme in ("light", "dark"):
        check.page.emulate_media(color_scheme=scheme)
        check.is_accessible(f"the result, {scheme}")
        check.fits(f"the result, {scheme}")
    with check.page.expect_download() as waiting:
        check.page.get_by_role("link", name="Download the report").click()
    saved = json.loads(pathlib.Path(waiting.value.path()).read_text())
    expect(saved == report, "the download is another report")
    target = report["targets"][0]
    disturbed = "disturbed" in codes(report)
    expect(disturbed or target["state"]["transport"] == "webtransport", target["state"])
    if not disturbed:
        for way in ("up", "down"):
            nothing_lost(target[way], 300, way)
            # Loopback carries what the endpoint lets pass; how much, a busy machine decides.
            expect(target[way]["capacity_bps"]["value"] > 1e6, way, target[way]["capacity_bps"])
        expect(target["rtt_ms"]["p50"] < 1_000, target["rtt_ms"])
        expect(report["verdict"]["uses"]["video_720p"]["state"] != "not_tested", report["verdict"]["uses"])
        expect({(stream["use"], stream["direction"]) for stream in target["streams"]} == {("video_720p", "up"), ("video_720p", "down")}, target["streams"])
        check.shows("Room on the way out")
        check.shows("Slower when the way in is full")
    camera = report["devices"]["cameras"][0]
    expect(camera["frames"]["rate_fps"]["value"] > 5, camera["frames"])
    expect(camera["picture"]["sharpness"]["state"] == "measured", camera["picture"])
    sizes = report["settings"]["run"]["camera_sizes"]
    expect([size["lines"] for size in sizes] == [360, 720], sizes)
    machine = report["host"]["machine"]
    expect(machine["processor"]["threads"] >= 1, machine["processor"])
    encoded = {run["use"]: run["times_real_time"]["value"] for run in machine["encode"]}
    expect(set(encoded) == {"video_360p", "video_720p"} and min(encoded.values()) > 0, encoded)
    browser = report["settings"]["run"]["browser"]
    expect(browser["can"]["secure_context"] and browser["can"]["cross_origin_isolated"], browser)
    expect(browser["clock_step_us"] <= 100, browser)
    expect(report["tool"]["source"] == "browser", report["tool"])
    if overall == "ready":
        known(check)
    # What the page itself does against its policy shows in other cases: here axe and the screenshots do.


def known(check):
    """Who comes back with the same devices on the same network is offered two seconds."""
    check.page.reload()
    again = check.button("Same as last time: join")
    again.wait_for()
    check.is_accessible("the offer")
    check.fits("the offer")
    check.page.evaluate("document.addEventListener('join', ({ detail }) => { window.joined = detail; })")
    began = time.monotonic()
    with check.page.expect_response(lambda response: response.url.endswith("/api/v1/runs")) as waiting:
        again.click()
    report = waiting.value.json()
    took = time.monotonic() - began
    check.page.get_by_text(report["code"]).wait_for()
    expect(took < 20, f"a recheck took {took:.1f} s")
    expect(report["targets"][0]["up"]["planned"] == 75, report["targets"][0]["up"])
    if report["verdict"]["overall"] == "ready":
        joined = check.page.evaluate("window.joined")
        expect(joined["may_join"] and joined["devices"]["camera"], joined and joined["devices"])
    # Another set of devices, or none that is known: nothing is offered.
    check.page.evaluate("localStorage.setItem('greenroom-check', localStorage.getItem('greenroom-check').replaceAll(/\"devices\":\"\\w+\"/g, '\"devices\":\"0\"'))")
    check.page.reload()
    check.button("Start the check").wait_for()
    check.page.wait_for_load_state("networkidle")
    expect(again.count() == 0, "offered with other devices")


def again(browsers):
    """A second run on the same page is a run of its own; one that is stopped is none."""
    check = Check(browsers)
    first = check.run()
    check.button("Check again").click()
    second = check.finish()
    expect(first["id"] != second["id"], first["id"])
    check.button("Check again").click()
    check.button("Stop").click()
    check.shows("The check was stopped.")
    expect(check.page.evaluate("document.querySelector('greenroom-check').report().id") == second["id"], "the last report")
    live = "(async () => { const found = await navigator.permissions.query({ name: 'camera' }); return found.state; })()"
    expect(check.page.evaluate(live) is not None, "the page still works")
    expect(check.errors == [], check.errors)


def stopped_at_its_beginning(browsers):
    """Who stops before the server has answered is asked for no device any more."""
    check = Check(browsers)
    check.page.evaluate("""() => {
      const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      window.asked = 0;
      navigator.mediaDevices.getUserMedia = (wanted) => { window.asked += 1; return real(wanted); };
    }""")
    check.run()
    of_a_run = check.page.evaluate("window.asked")
    held = []
    check.page.route("**/api/v1/session", lambda route: held.append(route), times=1)
    check.button("Check again").click()
    wait_for("its session", lambda: check.page.evaluate("true") and held)
    check.button("Stop").click()
    check.shows("The check was stopped.")
    held[0].continue_()
    # A whole run takes longer than the one that was stopped would need to ask.
    check.button("Check again").click()
    check.finish()
    asked = check.page.evaluate("window.asked")
    expect(of_a_run > 0 and asked == 2 * of_a_run, of_a_run, asked)
    expect(check.errors == [], check.errors)


def denied_both(browsers):
    check = Check(browsers, permissions=[])
    report = check.run()
    check.shows("The camera is blocked for this page.")
    check.shows("The microphone is blocked for this page.")
    check.is_accessible("denied")
    check.fits("denied")
    expect(report["verdict"]["overall"] == "permission_denied", json.dumps(report["verdict"]))
    expect("device_permission_browser" in codes(report), codes(report))
    expect(report["verdict"]["uses"]["audio"]["state"] == "permission_denied", report["verdict"]["uses"])


def set_permissions(check, setting):
    target = check.context.new_cdp_session(check.page).send("Target.getTargetInfo")["targetInfo"]
    session = check.browser.new_browser_cdp_session()
    for name in ("camera", "microphone"):
        wanted = {"permission": {"name": name}, "setting": setting, "browserContextId": target["browserContextId"]}
        session.send("Browser.setPermission", wanted)


def blocked_before(browsers):
    """What was blocked on another day is told before anybody clicks."""
    check = Check(browsers, permissions=[])
    set_permissions(check, "denied")
    check.page.reload()
    check.shows("The camera is blocked for this page from before. Click the icon to the left of the address")
    check.is_accessible("blocked before")


def unheard(browsers):
    check = Check(browsers)
    report = check.run("No")
    expect("device_unheard" in codes(report), codes(report))
    expect(report["verdict"]["overall"] == "blocked", json.dumps(report["verdict"]))
    # What the microphone did not hear says nothing where a person was asked.
    expect(report["devices"]["acoustic_loop"]["state"]["state"] == "not_tested", report["devices"]["acoustic_loop"])


def languages(browsers):
    """All languages at once, at 320 pixels, with the longest texts: what is denied."""
    checks = {}
    for language, start in LANGUAGES.items():
        check = Check(browsers, permissions=[], query=f"for=audio&screen&gate=soft&lang={language}", width=320)
        check.button(start).wait_for()
        check.fits(f"beginning {language}")
        check.is_accessible(f"the beginning in {language}")
        expect(check.page.evaluate(DRAWN, list(LETTERS.get(language, "ab"))), f"no font has the letters of {language}: ./dev test installs one")
        dir_, lang = check.page.evaluate("[document.documentElement.dir, document.documentElement.lang]")
        expect((dir_, lang) == ("rtl" if language == "ar" else "ltr", language), dir_, lang)
        check.button(start).click()
        checks[language] = check
    for language, check in checks.items():
        skip = check.page.get_by_role("button").filter(has_text=re.compile("^(Skip this|Überspringen|Omitir|省略する|تخطَّ هذا)$"))
        skip.wait_for()
        check.fits(f"speaker {language}")
        skip.click()
        check.page.locator("[part~=screen] button").first.wait_for()
        check.fits(f"screen {language}")
        skip.click()
    for language, check in checks.items():
        check.button(DONE[language]).wait_for()
        text = check.page.evaluate("document.querySelector('greenroom-check').shadowRoot.querySelector('[part~=verdict]').textContent")
        report = check.page.evaluate("document.querySelector('greenroom-check').report()")
        if language != "en":
            english = [sentence for cause in report["verdict"]["causes"] if cause["state"] != "ready" for sentence in (cause["say"], cause["fix"]) if sentence]
            expect(not any(sentence in text for sentence in english), language, text)
        expect("{" not in text and "undefined" not in text, language, text)
        check.fits(f"result {language}")
        check.is_accessible(f"the result in {language}")
        check.close()


def words_are_whole(browsers):
    """Every language has every text, with the same places in it, and every cause that another one has."""
    check = Check(browsers)
    wrong = check.page.evaluate("""async (languages) => {
      const flat = (value, path = '') => (typeof value === 'string' ? [[path, (value.match(/\\{\\w+\\}/g) ?? []).sort().join()]]
        : Object.entries(value).flatMap(([key, inner]) => flat(inner, `${path}.${key}`)));
      const of = async (language) => new Map(flat((await import(`/check/words/${language}.js`)).default));
      const all = new Map(await Promise.all(languages.map(async (language) => [language, await of(language)])));
      const wrong = [];
      for (const [language, words] of all) {
        for (const [path, places] of all.get(language === 'en' || path_is_of_causes(path) ? 'de' : 'en')) {
          if (language === 'en' && path_is_of_causes(path)) continue;
          if (words.get(path) !== places) wrong.push(`${language}${path}: ${words.get(path)} and not ${places}`);
        }
      }
      return wrong;
      function path_is_of_causes(path) { return path?.startsWith('.causes') || path?.startsWith('.says'); }
    }""".replace("all.get(language === 'en' || path_is_of_causes(path) ? 'de' : 'en')", "[...all.get('en'), ...[...all.get('de')].filter(([path]) => path_is_of_causes(path))]"), list(LANGUAGES))
    expect(wrong == [], wrong)


def without_endpoint(browsers):
    check = Check(browsers)
    report = check.run("Yes")
    check.shows("The connection is not tested on this server.")
    expect(report["targets"] == [], report["targets"])
    expect(check.errors == [], check.errors)


def busy(browsers):
    """The page's own thread is busy for three fifths of the time, also while the connection is filled: nothing is lost by that."""
    check = Check(browsers, query="for=720p&devices=microphone")
    check.page.evaluate("setInterval(() => { const until = performance.now() + 30; while (performance.now() < until); }, 50)")
    report = check.run(answer=None)
    target = report["targets"][0]
    if "disturbed" not in codes(report):
        for way in ("up", "down"):
            nothing_lost(target[way], 300, way)
        for stream in target["streams"]:
            expect(stream["planned"] > 500 and stream["lost"] == 0, stream)
        expect(target["up"]["capacity_bps"]["state"] == "measured", target["up"]["capacity_bps"])


def server_gone(browsers):
    """Last of its group: the server ends with it."""
    check = Check(browsers)
    check.start()
    check.button("Play a sound").wait_for()
    os.kill(int(os.environ["GREENROOM_PID"]), signal.SIGKILL)
    check.button("Skip this").click()
    check.shows("The result could not be sent")
    check.button("Check again").wait_for()
    check.is_accessible("no result")
    check.button("Check again").click()
    check.shows("The result could not be sent")


def script_missing(browsers):
    """What the worker needs does not come: that leaves nobody waiting. Other scripts are among the situations."""
    check = Check(browsers, query="for=audio&devices=speaker")
    check.page.route("**/check/stamp.js", lambda route: route.fulfill(status=404, body=""))
    check.page.reload()
    report = check.run()
    check.shows("The connection to the test server broke during the check.")
    expect(report["verdict"]["overall"] != "ready", report["verdict"]["overall"])
    check.close()


def admin(browsers, **how):
    """The first admin, signed in."""
    context = browsers.one(**how).new_context()
    page = context.new_page()
    page.goto((FOLDER / "data" / "admin-link").read_text().strip())
    page.get_by_label("Name").fill("ada")
    for field in page.locator("input[type=password]").all():
        field.fill("correct horse battery")
    page.locator("main button").click()
    page.wait_for_url(re.compile("(?!.*/first/)"))
    return page


def newest(page, query=""):
    """The newest report that is kept, if there is one."""
    page.goto(f"{BASE}/reports{query}")
    found = page.locator("main a[href^='/reports/']").first
    if found.count() == 0:
        return None
    return page.request.get(f"{BASE}{found.get_attribute('href')}/json").json()


def left_and_linked(browsers):
    """Whoever leaves has told what was done; whoever comes by a check link lands on its ticket."""
    page = admin(browsers)
    check = Check(browsers)
    check.start()
    check.button("Play a sound").wait_for()
    check.page.goto("about:blank")
    partial = wait_for("a partial report", lambda: newest(page))
    expect(partial["complete"] is False, partial["complete"])
    expect(partial["devices"]["microphones"][0]["sound"]["heard"]["value"] == "speech", partial["devices"])
    check.close()

    page.goto(f"{BASE}/links")
    page.get_by_label("Ticket").fill("T-4711")
    page.get_by_role("button", name="Make a link").click()
    link = re.search(r"http://[^\s<\"]+/c/gc_[\w-]+", page.content()).group(0)
    check = Check(browsers, at=link)
    check.is_accessible("the link")
    check.fits("the link")
    check.page.get_by_role("link", name="Check in this browser").click()
    report = check.run()
    kept = newest(page, "?q=T-4711")
    expect(kept and kept["id"] == report["id"], kept and kept["id"], report["id"])
    used = Check(browsers, at=f"{BASE}/check?devices=speaker#gc_{'x' * 43}")
    used.start()
    used.button("Skip this").click()
    used.shows("The link that you were sent does not work any more.")


def embedded(browsers):
    """The element on another site with a strict policy of its own, and the page in a frame of one."""
    check = Check(browsers, permissions=["camera", "microphone"], answers=True, at=f"{EMBEDDER}/")
    check.page.evaluate("""() => {
      window.told = [];
      const element = document.querySelector('greenroom-check');
      for (const name of ['progress', 'early', 'verdict', 'join', 'devices']) element.addEventListener(name, ({ detail }) => window.told.push([name, detail]));
      element.onverdict = (detail) => { window.called = detail.code; };
    }""")
    check.shows("A check before our call")
    check.is_accessible("embedded")
    report = check.run("Yes")
    check.is_accessible("embedded, the result")
    disturbed = "disturbed" in codes(report)
    expect(disturbed or report["targets"][0]["state"]["transport"] == "webtransport", report["targets"])
    expect(report["settings"]["run"]["browser"]["can"]["cross_origin_isolated"] is False, "it is not isolated, and says so")
    told = check.page.evaluate("window.told")
    steps = {detail["step"] for name, detail in told if name == "progress"}
    expect({"permission", "camera", "microphone", "speaker", "network", "computer", "sending"} <= steps, steps)
    handed = next(detail for name, detail in told if name == "verdict")
    # Where there was a first verdict, it is that of the same report.
    expect(all(detail["code"] == handed["code"] and detail["id"] == handed["id"] for name, detail in told if name == "early"), told)
    listed = next(detail for name, detail in told if name == "devices")
    expect(listed["camera"] and listed["microphone"][0]["label"], listed)
    expect(handed["devices"]["camera"] and handed["devices"]["microphone"], handed["devices"])
    expect(handed["start"]["video"]["height"] == 360, handed["start"])
    expect(disturbed or handed["strength"] in (3, 4), handed["strength"])
    expect(check.page.evaluate("window.called") == report["code"], "the callback")
    expect(check.page.evaluate("document.querySelector('greenroom-check').report().id") == report["id"], "report()")
    # The gate that the site asked for.
    if handed["may_join"]:
        check.button("Join").click()
        expect(check.page.evaluate("window.told.at(-1)[0]") == "join", "join")
    check.fits("embedded")
    expect(check.errors == [], check.errors)
    headless = check.page.evaluate("""async (base) => {
      const { check } = await import(`${base}/check/check.js`);
      const { verdict, report, devices } = await check({ endpoint: base, devices: ['microphone'], for: 'audio' });
      return { verdict, id: report.id, kinds: report.settings.judged.devices, devices };
    }""", BASE)
    expect(headless["kinds"] == ["microphone"] and headless["id"] != report["id"], headless)
    expect(headless["devices"]["microphone"], headless)
    stopped = check.page.evaluate("""async (base) => {
      const { check, CheckError } = await import(`${base}/check/check.js`);
      const signal = AbortSignal.timeout(300);
      return check({ endpoint: base, signal }).then(() => 'settled', (error) => [error instanceof CheckError, error.reason]);
    }""", BASE)
    expect(stopped == [True, "stopped"], stopped)
    check.close()

    framed = Check(browsers, at=f"{EMBEDDER}/frame")
    framed.page.evaluate("window.got = []; addEventListener('message', ({ origin, data }) => window.got.push([origin, data]))")
    frame = framed.page.frame_locator("iframe")
    frame.get_by_role("button", name="Start the check").click()
    frame.get_by_role("button", name="Check again").wait_for()
    got = framed.page.evaluate("window.got")
    expect(len(got) == 1 and got[0][0] == BASE, got)
    expect(got[0][1]["type"] == "greenroom-check" and got[0][1]["event"] == "verdict" and got[0][1]["code"], got)
    framed.close()


def not_named(browsers):
    """A site that nobody named gets nothing: not the scripts, not a session, not a frame."""
    other = EMBEDDER.replace("localhost", "127.0.0.1")
    check = Check(browsers, at=f"{other}/")
    check.page.wait_for_load_state("networkidle")
    expect(check.page.evaluate("customElements.get('greenroom-check') === undefined"), "the element is there")
    expect(any("CORS" in error for error in check.errors), check.errors)
    refused = check.page.request.get(f"{BASE}/api/v1/session", headers={"Origin": other})
    expect(refused.status == 403 and "access-control-allow-origin" not in refused.headers, refused.status)
    expect(refused.json()["type"].endswith(":foreign-site"), refused.text())
    check.page.goto(f"{other}/frame")
    check.page.wait_for_load_state("networkidle")
    expect(any("frame-ancestors" in error for error in check.errors), check.errors)


def over_tcp(browsers):
    """UDP gets nowhere: the WebSocket of the page's own server carries the packets, and is called what it is."""
    check = Check(browsers, query="for=audio&devices=microphone")
    check.start()
    with check.page.expect_response(lambda response: response.url.endswith("/api/v1/runs")) as waiting:
        check.shows("Only the slower way over TCP works here")
    report = waiting.value.json()
    target = report["targets"][0]
    expect(target["state"]["transport"] == "websocket", target["state"])
    expect(target["state"]["instead_of_udp"] == {"code": "udp_blocked", "works": "https"}, target["state"])
    expect(target["rtt_ms"]["p50"] > 0, target["rtt_ms"])
    for way in ("up", "down"):
        expect(target[way]["planned"] == 150 and target[way]["on_time"] > 0, target[way])
        expect(target[way]["loss_ratio"]["state"] == "not_tested", target[way]["loss_ratio"])
    expect("udp_blocked" in codes(report) and report["verdict"]["overall"] != "ready", json.dumps(report["verdict"]))
    check.page.get_by_text(report["code"]).wait_for()
    expect(check.page.get_by_text("Lost on the way").count() == 0, "losses are not shown")
    check.fits("over tcp")
    check.is_accessible("over tcp")


def without_web_transport(check):
    """As browsers are that have none. A worker has what its own file leaves it: no script of the page reaches it."""
    def serve(route):
        answer = route.fetch()
        headers = {name: value for name, value in answer.headers.items() if name not in ("content-encoding", "content-length")}
        route.fulfill(status=answer.status, headers=headers, body="delete self.WebTransport;\n" + answer.text())
    check.page.route("**/check/network-worker.js", serve)


def measured_over_webrtc(check, instead):
    report = check.run()
    target = report["targets"][0]
    told = report["settings"]["run"]
    expect(told.get("connection_over_webrtc") == instead, told, json.dumps(target["state"]))
    expect("udp_blocked" not in codes(report), codes(report))
    # A machine that is busy with other things sends late: that is told as its own fault, and not judged.
    if "disturbed" not in codes(report):
        expect(target["state"]["transport"] == "webrtc" and target["state"]["instead_of_udp"] is None, json.dumps(target["state"]))
        for way in ("up", "down"):
            expect(target[way]["planned"] == 300, way, target[way])
            expect(target[way]["lost"] == 0 and target[way]["loss_ratio"]["value"] == 0, way, json.dumps(target[way]))
            expect(target[way]["pdv_ms"]["state"] == "measured" and target[way]["burst"]["state"] == "measured", way, json.dumps(target[way]))
        expect(0 < target["rtt_ms"]["p50"] < 1_000, target["rtt_ms"])
    print(json.dumps({"rtt_ms": target["rtt_ms"], "state": target["state"], "codes": codes(report)}), file=sys.stderr)
    return report


def over_webrtc(browsers):
    """A browser that knows no WebTransport measures over UDP all the same; so does one that hands no channel to a worker."""
    check = Check(browsers, query="for=audio&devices=speaker")
    without_web_transport(check)
    report = measured_over_webrtc(check, "unsupported")
    expect("connection_stamped_by" not in report["settings"]["run"], report["settings"]["run"])
    expect(check.errors == [], check.errors)
    check.fits("over webrtc")
    check.close()

    check = Check(browsers, query="for=audio&devices=speaker")
    without_web_transport(check)
    check.page.evaluate("""() => {
      const post = Worker.prototype.postMessage;
      Worker.prototype.postMessage = function (message, handed) {
        if (handed?.some((one) => one instanceof RTCDataChannel)) throw new DOMException('not in this browser', 'DataCloneError');
        return post.call(this, message, handed);
      };
    }""")
    report = measured_over_webrtc(check, "unsupported")
    expect(report["settings"]["run"]["connection_stamped_by"] == "page", report["settings"]["run"])
    expect(check.errors == [], check.errors)
    check.close()


def webrtc_refused(browsers):
    """Packets to the port of QUIC get nowhere, and no offer is answered: TCP is left."""
    check = Check(browsers, query="for=audio&devices=speaker")
    check.page.route("**/check/rtc", lambda route: route.fulfill(status=503, body=""))
    report = check.run()
    state = report["targets"][0]["state"]
    expect(report["settings"]["run"].get("connection_over_tcp") == "unreachable", report["settings"]["run"], state, check.errors)
    expect("disturbed" in codes(report) or state["transport"] == "websocket", state)


def relayed(browsers, told, transport):
    """The direct way is closed: the page tries its relays, and goes by the best. What lets it in stands nowhere else."""
    check = Check(browsers, query="for=audio&devices=speaker", flags=[f"--ignore-certificate-errors-spki-list={os.environ['GREENROOM_RELAY_KEY']}"])
    sessions = []
    check.page.on("response", lambda response: sessions.append(response) if "/api/v1/session" in response.url else None)
    check.start()
    check.shows(told)
    report = check.finish()
    session = sessions[-1].json()
    expect(sessions[-1].headers["cache-control"] == "no-store", sessions[-1].headers)
    servers = session["ice_servers"]
    expect([server["urls"] for server in servers] == [["turn:192.0.2.1"], ["turn:192.0.2.1?transport=tcp"], ["turns:192.0.2.1"]], servers)
    told_to_the_page = [server[name] for server in servers for name in ("username", "credential")]
    texts = {name: (FOLDER / name).read_text() for name in ("said", "log")}
    texts |= {"report": json.dumps(report), "page": check.page.content() + check.page.evaluate("document.querySelector('greenroom-check').shadowRoot.innerHTML")}
    texts |= {"remembered": check.page.evaluate("JSON.stringify([localStorage, sessionStorage])")}
    for name, text in texts.items():
        found = [secret for secret in [*told_to_the_page, (FOLDER / "secret").read_text()] if secret in text]
        expect(found == [], name, found)
    target = report["targets"][0]
    run = report["settings"]["run"]
    print(json.dumps({"state": target["state"], "ways": run["connection_ways"], "blocked": run["connection_blocked_ports"], "codes": codes(report), "rtt_ms": target["rtt_ms"]}), file=sys.stderr)
    ways = {way["way"]: way for way in run["connection_ways"]}
    expect(set(ways) == {"turn-udp", "turn-tcp", "turn-tls", "websocket"} and ways["websocket"]["outcome"] == "works", ways)
    expect({"udp/7443", "udp/7445"} <= set(run["connection_blocked_ports"]), run)
    if "disturbed" not in codes(report):
        expect(target["state"]["transport"] == transport, target["state"])
    # That QUIC got nowhere the browser says itself.
    own = [error for error in check.errors if ":7443/media" not in error]
    expect(own == [], own)
    check.fits(f"by {transport}")
    check.is_accessible(f"by {transport}")
    return report, ways


def relayed_over_udp(browsers):
    report, ways = relayed(browsers, "Measured through a relay (TURN)", "turn-udp")
    target = report["targets"][0]
    expect(report["settings"]["run"]["connection_over_relay"] == "unreachable", report["settings"]["run"])
    expect(report["settings"]["run"]["connection_blocked_ports"] == ["udp/7443", "udp/7445"], report["settings"]["run"])
    for way in ways.values():
        expect(way["outcome"] == "works" and way["setup_ms"] > 0 and way["rtt_ms"] > 0, way)
    expect(target["state"]["instead_of_udp"] == {"code": "udp_port_blocked", "port": 7443, "works": "turn-udp/3478"}, target["state"])
    if "disturbed" not in codes(report):
        for way in ("up", "down"):
            expect(target[way]["planned"] == 300 and target[way]["lost"] == 0 and target[way]["loss_ratio"]["value"] == 0, json.dumps(target[way]))
    relay = report["targets"][1]
    expect(relay["url"] == "turn:192.0.2.1" and relay["failure"] is None, relay["failure"])
    expect([one["transport"] for one in relay["details"]["transports"]] == ["udp", "tcp", "tls"], json.dumps(relay["details"]))
    expect(all(one["relayed"]["answered"] == 25 for one in relay["details"]["transports"]), json.dumps(relay["details"]))
    place = next(cause["place"] for cause in report["verdict"]["causes"] if cause["code"] == "udp_port_blocked")
    expect(place == "relay" and "relay_user_refused" not in codes(report), report["verdict"])


def relayed_over_tcp(browsers):
    report, ways = relayed(browsers, "Measured through a relay over TCP (TURN)", "turn-tcp")
    target = report["targets"][0]
    expect(ways["turn-udp"]["outcome"] == "blocked" and ways["turn-udp"]["rtt_ms"] is None, ways)
    expect(ways["turn-tcp"]["outcome"] == "works" and ways["turn-tcp"]["rtt_ms"] > 0, ways)
    expect(set(report["settings"]["run"]["connection_blocked_ports"]) == {"udp/7443", "udp/7445", "udp/3478", "tcp/5349"}, report["settings"]["run"])
    expect(target["state"]["instead_of_udp"] == {"code": "udp_blocked", "works": "turn-tcp/3478"}, target["state"])
    if "disturbed" not in codes(report):
        for way in ("up", "down"):
            expect(target[way]["planned"] == 150 and target[way]["on_time"] > 0, json.dumps(target[way]))
            expect(target[way]["loss_ratio"]["state"] == "not_tested", json.dumps(target[way]["loss_ratio"]))
    expect("udp_blocked" in codes(report) and "relay_without_udp" in codes(report), report["verdict"])


def relayed_over_tls(browsers):
    report, ways = relayed(browsers, "Measured through a relay over TCP (TURN)", "turn-tls")
    target = report["targets"][0]
    for way in ("turn-udp", "turn-tcp"):
        expect(ways[way]["outcome"] == "blocked" and ways[way]["rtt_ms"] is None, ways)
    expect(ways["turn-tls"]["outcome"] == "works" and ways["turn-tls"]["rtt_ms"] > 0, ways)
    expect(set(report["settings"]["run"]["connection_blocked_ports"]) == {"udp/7443", "udp/7445", "udp/3478", "tcp/3478"}, report["settings"]["run"])
    expect(target["state"]["instead_of_udp"]["works"] == "turn-tls/5349", target["state"])


def relay_refuses(browsers):
    """The relay is there, and takes no user name of this server: that is told, and not that something blocks it."""
    report, ways = relayed(browsers, "Only the slower way over TCP works here", "websocket")
    expect([ways[way]["outcome"] for way in ("turn-udp", "turn-tcp", "turn-tls")] == ["credentials"] * 3, ways)
    expect(report["settings"]["run"]["connection_blocked_ports"] == ["udp/7443", "udp/7445"], report["settings"]["run"])
    cause = next(cause for cause in report["verdict"]["causes"] if cause["code"] == "relay_user_refused")
    expect(cause["place"] == "service" and cause["params"]["host"] == "192.0.2.1", cause)
    expect("udp_blocked" not in codes(report) and "udp_port_blocked" in codes(report), codes(report))


def webrtc_where_quic_is_dropped(browsers):
    """Packets to the port of QUIC get nowhere: WebRTC has another one."""
    check = Check(browsers, query="for=audio&devices=speaker")
    measured_over_webrtc(check, "unreachable")


def webrtc_with_losses(browsers):
    """Every tenth of the larger packets up is dropped: so many are lost on that way, and none on the other."""
    check = Check(browsers, query="for=audio&devices=speaker")
    report = check.run()
    target = report["targets"][0]
    expect(report["settings"]["run"].get("connection_over_webrtc") == "unreachable", report["settings"]["run"], target["state"])
    counters = dropped_by_nft()
    print(json.dumps({"dropped": counters, "up": target["up"], "down": target["down"]}), file=sys.stderr)
    if "disturbed" not in codes(report):
        lost = target["up"]["lost"]
        # A few of them were keys and checks of the address.
        expect(counters[0] - 4 <= lost <= counters[0], lost, counters)
        expect(lost >= 25 and target["down"]["lost"] == 0, json.dumps(target["up"]), json.dumps(target["down"]))


def media_there_and_back(browsers):
    """A tone and drawn pictures go to the endpoint as RTP and come back, behind the packets of the verdict."""
    check = Check(browsers, query="for=720p&devices=speaker")
    report = check.run()
    target, details, ways = trial(report)
    expect(target["state"]["transport"] == "udp" and target["url"].startswith("webrtc://"), target["state"])
    expect(set(ways) == {("audio", "up"), ("audio", "down"), ("video", "up"), ("video", "down")}, ways)
    counted(details, ways)
    for (media, way), figures in ways.items():
        expect(figures["sent"] >= (100 if media == "audio" else 30), media, way, figures)
        expect(figures["lost"] == 0 and figures["loss_ratio"]["value"] == 0, media, way, figures)
        # The browser reports of sound every five seconds; its own count is at hand.
        reported = figures["jitter_rfc3550_ms"]["state"] == "measured"
        expect(reported or (media, way) == ("audio", "down"), media, way, figures["jitter_rfc3550_ms"])
    expect(all(one["jitter_rfc3550_ms"]["state"] == "measured" for one in details["here"]), details["here"])
    expect({one["source"] for one in details["here"]} == {"synthetic"}, details["here"])
    expect(details["there"]["transport_feedback"]["lost"] == 0 and details["there"]["transport_feedback"]["packets"] > 100, details["there"])
    expect(details["pair_rtt_ms"]["value"] < 1_000, details["pair_rtt_ms"])
    check.shows("Trial call: 100 % of the sound and 100 % of the picture came back.")
    check.fits("a trial call")
    check.is_accessible("a trial call")
    expect(check.errors == [], check.errors)
    check.close()


def own_media_there_and_back(browsers):
    """Where the page says so, the person's own sound and picture go, and the person is told before."""
    check = Check(browsers, permissions=["camera", "microphone"], answers=True, query="for=360p&devices=camera microphone&send=devices")
    check.shows("Your picture and sound go to")
    check.start()
    with check.page.expect_response(lambda response: response.url.endswith("/api/v1/runs")) as waiting:
        check.button("Check again").wait_for()
    _, details, ways = trial(waiting.value.json())
    counted(details, ways)
    expect({one["source"] for one in details["here"]} == {"device"}, details["here"])
    picture = next(one["picture"] for one in details["here"] if one["media"] == "video")
    expect(picture["frames"] > 10 and picture["height"] <= 360, picture)
    expect(check.errors == [], check.errors)
    check.close()


def media_with_losses(browsers):
    """What was dropped of each stream and way is what the report says was lost there."""
    check = Check(browsers, query="for=360p&devices=speaker")
    _, details, ways = trial(check.run())
    dropped = dict(zip([("audio", "up"), ("audio", "down"), ("video", "up")], dropped_by_nft()))
    print(json.dumps({f"{media} {way}": n for (media, way), n in dropped.items()}), file=sys.stderr)
    counted(details, ways)
    expect(min(dropped.values()) >= 3, dropped)
    for way in ("up", "down"):
        expect(ways["audio", way]["lost"] == dropped["audio", way], way, dropped, ways["audio", way])
    # Of the picture the browser sends a few again, and these may be dropped, too.
    here, came = (next(one for one in some if one["media"] == "video") for some in (details["here"], details["there"]["received"]))
    missing = here["sent_packets"] + here["resent_packets"] - came["packets"] - came["duplicates"]
    expect(missing == dropped["video", "up"], missing, dropped, here, came)
    expect(ways["video", "down"]["lost"] == 0, ways["video", "down"])
    told = details["there"]["transport_feedback"]
    # The browser's feedback speaks of both streams together; not of what came last.
    expect(abs(told["lost"] - dropped["audio", "down"]) <= 1, told, dropped)


def media_unreachable(browsers):
    """Nothing gets to the port of WebRTC: that is told, and nothing is judged by it."""
    check = Check(browsers, query="for=audio&devices=speaker")
    report = check.run()
    expect([target["kind"] for target in report["targets"]] == ["greenroom"], report["targets"])
    expect(report["settings"]["run"].get("media_not_tested") == "unreachable", report["settings"]["run"])
    expect("disturbed" in codes(report) or report["targets"][0]["state"]["transport"] == "webtransport", report["targets"][0]["state"])
    check.shows("No trial call came about.")


def heard_by_the_microphone(browsers):
    """A speaker that the microphone hears: PulseAudio's null sink, whose monitor is the microphone. Nobody is asked."""
    check = Check(browsers, devices=False, audible=True, query="for=audio&devices=microphone speaker")
    check.start()
    check.button("Play a sound").click()
    check.shows("Your speaker works: your microphone heard it.")
    check.page.get_by_text("Code for support").wait_for()
    report = check.page.evaluate("document.querySelector('greenroom-check').report()")
    loop = report["devices"]["acoustic_loop"]["channels"][0]
    expect(loop["heard"]["value"] is True and loop["confidence_db"]["value"] >= 35, loop)
    expect(0 < loop["delay_ms"]["value"] < 800, loop["delay_ms"])
    # The sink is wired to the microphone: what is played comes back as loud.
    expect(abs(loop["return_db"]["value"]) < 3, loop["return_db"])
    print(json.dumps(loop), file=sys.stderr)
    check.picture("heard by the microphone")


def microphones_of_pulseaudio(browsers):
    """Faults of a microphone by a real path of sound: what is played into a sink whose monitor it is. Nobody's fake device."""
    for sound, text, *told in MICROPHONES:
        with of_pulseaudio(sound):
            check = Check(browsers, devices=False, query="for=audio&devices=microphone")
            check.start()
            with check.page.expect_response(lambda response: response.url.endswith("/api/v1/runs")) as waiting:
                check.button("Check again").wait_for()
        check.shows(text)
        found = codes(waiting.value.json())
        expect(found == told, sound, found, waiting.value.json()["devices"]["microphones"])
        check.close()


def unplugged_from_pulseaudio(browsers):
    """Last of its group: the microphone goes away in the middle, with all that plays and records."""
    check = Check(browsers, devices=False, query="for=audio&devices=microphone")
    check.start()
    check.shows("Please say a few words.")
    subprocess.run(["pactl", "exit"], check=True)
    with check.page.expect_response(lambda response: response.url.endswith("/api/v1/runs")) as waiting:
        check.button("Check again").wait_for()
    report = waiting.value.json()
    print(json.dumps([codes(report), report["devices"]["microphones"]]), file=sys.stderr)
    expect(report["verdict"]["overall"] == "blocked", report["verdict"])


def screens(browsers):
    """Screens that are shared, black, not chosen, not permitted: as browsers tell it."""
    draw = "const c = document.createElement('canvas'); c.width = 320; c.height = 180; const x = c.getContext('2d'); setInterval(() => { x.fillStyle = %s; x.fillRect(0, 0, 320, 180); }, 50); return c.captureStream(20);"
    refuse = "await new Promise((done) => setTimeout(done, %d)); throw new DOMException('%s', '%s');"
    cases = [
        (draw % "'#888'", "Your screen can be shared.", "shared", True),
        (draw % "'#000'", "What was shared is black.", "black", False),
        (refuse % (200, "Permission denied", "NotAllowedError"), "No screen was chosen", "cancelled", None),
        (refuse % (0, "Permission denied by system", "NotAllowedError"), "Your system does not let this browser see the screen.", "system", False),
        (refuse % (0, "Permission denied", "NotAllowedError"), "Sharing is blocked for this page.", "denied", False),
    ]
    pages = []
    for script, text, _, _ in cases:
        check = Check(browsers, query="for=audio&devices=speaker&screen")
        check.page.evaluate(f"navigator.mediaDevices.getDisplayMedia = async () => {{ {script} }}; 0")
        check.start()
        check.button("Skip this").click()
        pages.append(check)
    for check, (_, text, outcome, possible) in zip(pages, cases):
        with check.page.expect_response(lambda response: response.url.endswith("/api/v1/runs")) as waiting:
            check.button("Share a screen").click()
        check.shows(text)
        report = waiting.value.json()
        expect(report["settings"]["run"]["screen_share"] == outcome, outcome, report["settings"]["run"])
        capture = report["host"]["machine"]["screen_capture"]
        expect(capture.get("possible") == possible, outcome, capture)
        check.fits(f"screen {outcome}")
        check.close()


CASES = {
    **{case.__name__: case for case in (
        good, again, stopped_at_its_beginning, denied_both, blocked_before, unheard, languages, words_are_whole,
        without_endpoint, busy, server_gone, script_missing, left_and_linked, embedded, not_named, over_tcp,
        relayed_over_udp, relayed_over_tcp, relayed_over_tls, relay_refuses, over_webrtc, webrtc_refused, webrtc_where_quic_is_dropped, webrtc_with_losses,
        media_there_and_back, own_media_there_and_back, media_with_losses, media_unreachable,
        heard_by_the_microphone, microphones_of_pulseaudio, unplugged_from_pulseaudio, screens,
    )},
    **calls.cases(Check, expect, wait_for),
    **besides.cases(Check, expect, wait_for, EMBEDDER),
    **vectors.cases(Check, expect),
}


def main():
    with sync_playwright() as playwright:
        run(CASES, Browsers(playwright))


if __name__ == "__main__":
    main()
