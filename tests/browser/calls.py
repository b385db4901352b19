"""Running calls, watched by monitor.js: two connections in one page, with fake devices. Cases of check_page.py; Firefox has the first."""

import json
import sys

# Two connections, each of which sends microphone and camera to the other and plays what comes; a monitor on the first.
CALL = """async (options) => {
  const { monitor } = await import('/check/monitor.js');
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const media = await navigator.mediaDevices.getUserMedia({ audio: plain, video: { width: 320, height: 240, frameRate: 20 } });
  const [here, there] = [new RTCPeerConnection(), new RTCPeerConnection()];
  for (const [from, to] of [[here, there], [there, here]]) from.onicecandidate = ({ candidate }) => { to.addIceCandidate(candidate); };
  for (const pc of [here, there]) {
    pc.ontrack = ({ streams: [stream] }) => {
      const video = document.createElement('video');
      Object.assign(video, { srcObject: stream, autoplay: true });
      video.play().catch(() => {});
      document.body.append(video);
    };
    const tracks = media.getTracks().map((track) => (pc === here ? track : track.clone()));
    for (const track of tracks) pc.addTrack(track, media);
  }
  await here.setLocalDescription();
  await there.setRemoteDescription(here.localDescription);
  await there.setLocalDescription();
  await here.setRemoteDescription(there.localDescription);
  const call = { here, there, media, told: [], figures: [] };
  const microphone = options.microphone ? media.getAudioTracks()[0] : undefined;
  call.watch = monitor(here, { every_ms: 1_000, microphone, ...options.monitor, onreason: ({ type, code, ...reason }) => call.told.push([type, code, reason]) });
  call.watch.addEventListener('figures', ({ detail }) => call.figures.push(detail));
  window.call = call;
}"""


def cases(Check, expect, wait_for):
    def call(browsers, monitor=None, microphone=False, **how):
        check = Check(browsers, query="for=audio", **how)
        check.page.evaluate(CALL, {"monitor": monitor or {}, "microphone": microphone})
        return check

    def begun(check):
        return check.page.evaluate("call.told.filter(([type]) => type === 'begin').map(([, code]) => code)")

    def told(check):
        return check.page.evaluate("JSON.stringify(call.told) + JSON.stringify(call.figures.at(-1))")

    def until(check, code, seconds):
        try:
            wait_for(code, lambda: code in begun(check), seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {told(check)}") from error

    def seconds(check, n):
        """So long a call goes on: it is time itself that is looked at."""
        check.page.evaluate("(ms) => new Promise((done) => setTimeout(done, ms))", n * 1_000)

    def end(check, how="{}"):
        return check.page.evaluate(f"call.watch.end({how})")

    def clean_call(browsers):
        """Nothing is wrong, and nothing is said to be; the report is linked to the check before, and kept."""
        before = {"id": "0197c0de-1234-7abc-8def-0123456789ab", "code": "4D2P-F2DB"}
        check = call(browsers, microphone=True)
        check.page.evaluate("(before) => import('/check/memory.js').then(({ keepReport }) => keepReport(before))", before)
        seconds(check, 25)
        expect(begun(check) == [], told(check))
        last = check.page.evaluate("call.figures.at(-2)")
        print(json.dumps(last), file=sys.stderr)
        expect(last["disturbed"] is None and last["connection"] == "connected", last)
        expect(0 <= last["path"]["rtt_ms"] < 50 if last["path"]["rtt_ms"] is not None else True, last["path"])
        for way in ("up", "down"):
            expect(30 <= last[way]["audio"]["packets"] <= 80, last[way]["audio"])
            expect(last[way]["video"]["fps"] > 12, last[way]["video"])
        expect(last["down"]["audio"]["loss_ratio"] == 0 and last["down"]["audio"]["buffer_ms"] < 200, last["down"])
        expect(-40 < last["microphone"]["level_dbfs"] < 0 and last["microphone"]["by_samples"], last["microphone"])
        ended = end(check, "{ send: true, notice: true }")
        report = ended["report"]
        expect(report["verdict"]["overall"] == "ready" and report["parent"] == before["id"], json.dumps(report["verdict"]))
        expect(ended["not_sent"] is None and ended["kept"]["status"] == "accepted" and ended["kept"]["code"] == report["code"], ended)
        target = report["targets"][0]
        expect(target["down"]["loss_ratio"]["value"] == 0 and target["rtt_ms"]["n"] > 0, target["rtt_ms"])
        expect(check.errors == [], check.errors)
        check.close()

    def silent_call(browsers):
        """A microphone that gives nothing but zeros, and one that the application has muted."""
        check = call(browsers, sound="silent")
        until(check, "mic_muted_in_hardware", 20)
        check.page.evaluate("call.media.getAudioTracks()[0].enabled = false; 0")
        until(check, "mic_muted_in_software", 5)
        expect(begun(check) == ["mic_muted_in_hardware", "mic_muted_in_software"], told(check))
        causes = end(check)["report"]["verdict"]["causes"]
        expect([(cause["code"], cause["place"]) for cause in causes if cause["code"].endswith("hardware")] == [("mic_muted_in_hardware", "device")], causes)
        check.close()

    def loud_call(browsers):
        """Cut-off peaks, seen in the track's own samples."""
        check = call(browsers, sound="clipped", microphone=True)
        until(check, "mic_clipping", 20)
        expect(begun(check) == ["mic_clipping"], told(check))
        check.close()

    def replaced_tracks(browsers):
        """Another camera, another microphone, a new path: nothing is wrong by that. Then a track that is silent."""
        check = call(browsers)
        seconds(check, 6)
        check.page.evaluate("""async () => {
          const { audio, video } = { audio: true, video: { width: 320, height: 240 } };
          const other = await navigator.mediaDevices.getUserMedia({ audio, video });
          for (const sender of call.here.getSenders()) await sender.replaceTrack(other.getTracks().find(({ kind }) => kind === sender.track.kind));
          await call.here.setLocalDescription(await call.here.createOffer({ iceRestart: true }));
          await call.there.setRemoteDescription(call.here.localDescription);
          await call.there.setLocalDescription();
          await call.here.setRemoteDescription(call.there.localDescription);
        }""")
        seconds(check, 12)
        expect([code for code in begun(check) if code != "path_changed"] == [], told(check))
        check.page.evaluate("""async () => {
          const context = new AudioContext();
          const silent = context.createMediaStreamDestination().stream.getAudioTracks()[0];
          await call.here.getSenders().find(({ track }) => track.kind === 'audio').replaceTrack(silent);
        }""")
        until(check, "mic_muted_in_hardware", 15)
        expect([code for code in begun(check) if code != "path_changed"] == ["mic_muted_in_hardware"], told(check))
        check.page.evaluate("call.here.close()")
        wait_for("the end of the watch", lambda: check.page.evaluate("call.watch.active.length === 0"))
        expect(end(check)["report"]["verdict"]["causes"] != [], "the reason that went on until the end")
        check.close()

    def busy_page(browsers):
        """A main thread that is held up: said to be so, and nothing of it is the network's."""
        check = call(browsers)
        seconds(check, 5)
        check.page.evaluate("""() => new Promise((done) => {
          const ends = performance.now() + 12_000;
          const hold = () => {
            const until = performance.now() + 900;
            while (performance.now() < until);
            if (performance.now() < ends) setTimeout(hold, 50); else done();
          };
          hold();
        })""")
        seconds(check, 5)
        expect(begun(check) == ["page_stalled"], told(check))
        report = end(check)["report"]
        expect([(cause["code"], cause["place"], cause["state"]) for cause in report["verdict"]["causes"]][0][:2] == ("page_stalled", "computer"), report["verdict"])
        expect(report["verdict"]["overall"] == "inconclusive", report["verdict"])
        check.close()

    def hidden_call(browsers):
        """A call in the background is not judged, however it goes."""
        check = call(browsers)
        seconds(check, 4)
        check.page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))")
        until(check, "page_hidden", 5)
        seconds(check, 8)
        expect(begun(check) == ["page_hidden"], told(check))
        expect(end(check)["report"]["verdict"]["overall"] == "inconclusive", told(check))
        check.close()

    return {case.__name__: case for case in (clean_call, silent_call, loud_call, replaced_tracks, busy_page, hidden_call)}
