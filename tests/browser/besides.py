"""What the check page does besides: the person's own voice played to them, the preview drawn by a renderer that was chosen, the application's
own files. Run by check_page.py."""

import json
import re

# What is asked of the microphone, what is played, and which tracks there are.
HEARS = """() => {
  window.asked = [];
  window.tracks = [];
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    window.asked.push(wanted);
    const stream = await real(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
  window.played = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (...args) {
    const samples = this.buffer.getChannelData(0);
    window.played.push({ seconds: this.buffer.duration, rms: Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length) });
    return start.apply(this, args);
  };
}"""
LANGUAGES = {"en": "Hear yourself", "de": "Sich selbst hören", "es": "Escucharse", "ja": "自分の声を聞く", "ar": "اسمع صوتك"}
DRAWN = """() => {
  const root = document.querySelector('greenroom-check').shadowRoot;
  const canvas = root.querySelector('[part~=canvas]');
  const video = root.querySelector('video');
  return { canvas: canvas && [canvas.width, canvas.height], video: [video.videoWidth, video.videoHeight], shown: canvas?.checkVisibility() ?? false };
}"""


def cases(Check, expect, wait_for, embedder):
    def run_of(check):
        check.start()
        with check.page.expect_response(lambda response: response.url.endswith("/api/v1/runs")) as waiting:
            check.button("Check again").wait_for()
        return waiting.value.json()

    def hears_themselves(browsers):
        """Recorded with the processing of a call, which the check itself goes without; played; sent nowhere; switched off."""
        check = Check(browsers, query="for=audio&devices=microphone")
        check.page.evaluate(HEARS)
        expect(check.button("Hear yourself").count() == 0, "before the microphone was looked at")
        run_of(check)
        checked = check.page.evaluate("window.asked.splice(0).map(({ audio }) => [audio.echoCancellation, audio.noiseSuppression, audio.autoGainControl])")
        expect(checked == [[False, False, False]], "the check goes without processing", checked)
        check.is_accessible("hear yourself")
        check.fits("hear yourself")
        requests = []
        check.page.on("request", lambda request: requests.append(request))
        check.button("Hear yourself").click()
        check.shows("Say something. Four seconds are recorded")
        check.is_accessible("recording")
        check.fits("recording")
        check.shows("This is about how others hear you.")
        check.shows("That was about how others hear you.")
        asked = check.page.evaluate("window.asked")
        wanted = {"echoCancellation": True, "noiseSuppression": True, "autoGainControl": True}
        expect(len(asked) == 1 and wanted.items() <= asked[0]["audio"].items(), "with that of a call", asked)
        expect("deviceId" in asked[0]["audio"], "by the microphone that was checked", asked)
        played = check.page.evaluate("window.played")
        expect(len(played) == 1 and abs(played[0]["seconds"] - 4) < 0.01 and played[0]["rms"] > 1e-3, "four seconds with a voice in them", played)
        expect(check.page.evaluate("window.tracks.every(({ readyState }) => readyState === 'ended')"), "nothing stays switched on")
        expect(all(request.method == "GET" and request.post_data is None for request in requests), "sent nowhere", [request.url for request in requests])
        # Again, and stopped in the middle; then a check takes its place.
        check.button("Hear yourself").click()
        check.button("Stop").click()
        check.button("Hear yourself").wait_for()
        check.button("Hear yourself").click()
        check.shows("Say something.")
        run_again = check.button("Check again")
        run_again.click()
        run_again.wait_for()
        check.button("Hear yourself").wait_for()
        expect(check.page.evaluate("window.tracks.every(({ readyState }) => readyState === 'ended')"), "nothing stays switched on then either")
        expect(check.errors == [], check.errors)
        told = check.page.evaluate("""async () => {
          const { playBack } = await import('/check/playback.js');
          const states = [];
          const good = await playBack({ ms: 500, onstate: (state) => states.push(state) });
          const gone = await playBack({ microphone: 'nobody' });
          const stopped = await playBack({ signal: AbortSignal.abort() });
          return { good, states, gone, stopped };
        }""")
        expect(told["good"]["outcome"] == "played" and abs(told["good"]["recorded_ms"] - 500) < 1, told["good"])
        expect(told["good"]["processing"] == {"echo_cancellation": True, "noise_suppression": True, "auto_gain_control": True}, told["good"])
        expect(told["states"] == ["recording", "playing"], told["states"])
        expect((told["gone"]["outcome"], told["stopped"]["outcome"]) == ("overconstrained", "stopped"), told)
        check.close()

    def hears_nothing(browsers):
        """A microphone of zeros is said to be that, once more than the gap of a headset was waited; without permission there is no button."""
        check = Check(browsers, sound="silent", query="for=audio&devices=microphone")
        run_of(check)
        check.button("Hear yourself").click()
        check.shows("Nothing but silence was recorded.")
        check.close()
        check = Check(browsers, permissions=[], query="for=audio&devices=microphone")
        run_of(check)
        expect(check.button("Hear yourself").count() == 0, "without permission")
        check.close()

    def hears_in_all_languages(browsers):
        checks = {language: Check(browsers, query=f"for=audio&devices=microphone&lang={language}", width=320) for language in LANGUAGES}
        for check in checks.values():
            check.page.locator("[part~=start]").click()
        for language, check in checks.items():
            check.button(LANGUAGES[language]).click()
            check.page.locator("[part~=microphone] [role=status]").get_by_text(re.compile(".+")).wait_for()
            check.fits(f"hear yourself {language}")
            check.close()

    def drawn_now(check):
        seen = check.page.evaluate(DRAWN)
        return seen if seen["canvas"] and seen["canvas"][1] > 200 else None

    def drawn_by_what_was_chosen(browsers):
        """The preview by each renderer, and by the next one where that does not come about."""
        for wanted, drawer, before in [
            ("webgl", "webgl", None),
            ("canvas", "canvas", None),
            ("webgl", "canvas", "HTMLCanvasElement.prototype.getContext = ((real) => function (kind, ...more) { return /webgl/.test(kind) ? null : real.call(this, kind, ...more); })(HTMLCanvasElement.prototype.getContext)"),
            ("webgl", "video", "HTMLCanvasElement.prototype.getContext = ((real) => function (kind, ...more) { return this.matches('[part~=canvas]') ? null : real.call(this, kind, ...more); })(HTMLCanvasElement.prototype.getContext)"),
        ]:
            check = Check(browsers, query=f"for=360p&devices=camera&renderer={wanted}")
            if before:
                check.page.evaluate(f"() => {{ {before}; }}")
            check.start()
            check.shows("Looking at the picture.")
            if drawer != "video":
                check.page.locator("[part~=canvas]").wait_for()
                seen = wait_for("its first picture", lambda: drawn_now(check))
                expect(seen["canvas"] == seen["video"] and seen["shown"], wanted, seen)
                check.picture(f"drawn by {drawer} for {wanted}")
            with check.page.expect_response(lambda response: response.url.endswith("/api/v1/runs")) as waiting:
                check.button("Check again").wait_for()
            report = waiting.value.json()
            expect("settings" in report, report)
            preview = report["settings"]["run"]["preview"]
            order = ["webgl", "canvas", "video"]
            expect((preview["renderer"], preview["wanted"]) == (drawer, wanted), preview)
            expect(preview["fell_back"] == order[order.index(wanted):order.index(drawer)], preview)
            expect(drawer == "video" or (preview["drawn"] > 10 and preview["fps"] > 3 and preview["draw_ms"] > 0), preview)
            # The frames that are judged are the camera's own, whatever draws them.
            expect(report["devices"]["cameras"][0]["frames"]["rate_fps"]["value"] > 5, report["devices"]["cameras"])
            expect(check.page.locator("[part~=canvas]").count() == 0, "it is gone behind the check")
            expect(check.errors == [], check.errors)
            check.close()

    def drawing_is_measured(browsers):
        """How fast each renderer draws and what a changed background costs, at the largest size that is looked at."""
        check = Check(browsers, query="for=720p&devices=camera")
        report = run_of(check)
        browser = report["settings"]["run"]["browser"]
        print(json.dumps([browser["drawing"], browser["effects"]]))
        drawing = {one["renderer"]: one for one in browser["drawing"]}
        expect(set(drawing) == {"canvas", "webgl", "webgpu"} and {one["lines"] for one in drawing.values()} == {720}, drawing)
        for renderer in ("canvas", "webgl"):
            expect(drawing[renderer]["times_real_time"] > 0 and drawing[renderer]["frames"] >= 1, drawing)
        # There is no graphics processor here, and no WebGPU without one unless it is asked for.
        expect(drawing["webgpu"]["times_real_time"] is not None or drawing["webgpu"]["reason"] in ("unsupported", "failed"), drawing)
        expect(browser["effects"]["times_real_time"] > 0 and browser["effects"]["lines"] == 720, browser["effects"])
        check.page.get_by_text("Computer and browser").click()
        check.shows("Drawing 720p by WebGL")
        check.shows("Background effects at 720p")
        check.fits("drawing")
        check.is_accessible("drawing")
        expect(check.errors == [], check.errors)
        check.close()

    def application_files(browsers):
        """What an application named is fetched before the check and behind it, not meanwhile; which came, and how long it took."""
        check = Check(browsers, at="about:blank")
        seen = []
        broken = []
        check.page.on("request", lambda request: seen.append(request.url))
        check.page.on("requestfailed", lambda request: broken.append(request.url))
        check.page.goto(f"{embedder}/files")
        other = embedder.replace("localhost", "127.0.0.1")
        early = {f"{embedder}/sdk.js", f"{embedder}/missing.js", f"{embedder}/slow.js", f"{other}/other.js"}
        wait_for("what is fetched while the person reads", lambda: check.page.evaluate("true") and early <= set(seen))
        check.page.evaluate("""() => {
          window.fetched = [];
          document.querySelector('greenroom-check').addEventListener('progress', ({ detail }) => { window.step = detail.step; });
          const real = window.fetch;
          window.fetch = (url, ...more) => { window.fetched.push([String(url), window.step]); return real(url, ...more); };
        }""")
        report = check.run("Yes")
        # The slow one was still under way when the check began: it was stopped, and fetched when nothing was measured any more.
        again = {url.split("/")[-1].split("?")[0]: step for url, step in check.page.evaluate("window.fetched") if url.split("?")[0].endswith(".js") and "/check/meter" not in url}
        expect(f"{embedder}/slow.js" in broken and again["slow.js"] == "assets" and set(again.values()) == {"assets"}, again, broken)
        files = {one["url"].split("/")[-1]: one for one in report["settings"]["run"]["application_files"]}
        print(json.dumps(files))
        outcomes = {name: one["outcome"] for name, one in files.items()}
        expect(outcomes == {"sdk.js": "loaded", "missing.js": "refused", "other.js": "loaded", "stamp.js": "loaded", "slow.js": "loaded", "dead.js": "failed", "banned.js": "policy"}, outcomes)
        sdk, other = files["sdk.js"], files["other.js"]
        expect(sdk["status"] == 200 and sdk["octets"] == 20_000 and 0 < sdk["took_ms"] < 10_000 and sdk["cached"] is False, sdk)
        expect(files["missing.js"]["status"] == 404 and files["slow.js"]["took_ms"] > 3_900, files)
        # Of what is another site's, which says nothing of it, only the end is known.
        expect(other["status"] is None and other["octets"] is None and other["took_ms"] > 0, other)
        expect(not any("secret" in one["url"] for one in files.values()), "what stands behind ? is nobody's business", files)
        target = next(one for one in report["targets"] if one["url"] == "service:application")
        parts = {one["name"].split("/")[-1]: one["state"] for one in target["details"]["parts"]}
        expect(parts == {"sdk.js": "works", "missing.js": "fails", "other.js": "works", "stamp.js": "works", "slow.js": "works", "dead.js": "fails", "banned.js": "unknown"}, parts)
        told = [cause for cause in report["verdict"]["causes"] if cause["code"] == "application_file_fails"]
        expect(sorted((cause["params"]["part"].split("/")[-1], cause["place"]) for cause in told) == [("dead.js", "unknown"), ("missing.js", "join")], told)
        expect(report["verdict"]["overall"] in ("degraded", "inconclusive") and "{" not in report["verdict"]["say"], report["verdict"])
        check.page.get_by_text("Computer and browser").click()
        check.shows("File sdk.js")
        check.shows("its server answered with HTTP 404")
        check.fits("application files")
        check.is_accessible("application files")
        # Who comes back has it already.
        headless = check.page.evaluate("""async (base) => {
          const { check } = await import(`${base}/check/check.js`);
          const { report } = await check({ endpoint: base, devices: ['speaker'], for: 'audio', assets: ['/sdk.js'] });
          return report.settings.run.application_files;
        }""", check.page.evaluate("new URL(document.querySelector('script[src]').src).origin"))
        expect(len(headless) == 1 and headless[0]["outcome"] == "loaded" and headless[0]["cached"] is True, headless)
        check.close()

    return {case.__name__: case for case in (
        hears_themselves, hears_nothing, hears_in_all_languages, drawn_by_what_was_chosen, drawing_is_measured, application_files,
    )}
