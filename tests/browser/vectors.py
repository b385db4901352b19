"""The page's detectors on the vectors of greenroom-reports (reports/signals-vectors): each is named and measured as they say. Run by
check_page.py; the sounds were made by the recipes' own code."""

import base64
import json
import os
import pathlib

# What a page in a browser does not look for, as it keeps the sound to itself.
UNSEEN = ("hum.", "bandwidth_hz")
# What the page says at once, and what the report says then. Loudness and noise are figures of a report, not names.
SAID = {
    "silent": ("muted_in_software", "muted_in_hardware"), "stuck": ("stuck",), "too_quiet": ("too_quiet",), "nobody_spoke": ("nobody_spoke",),
    "speech": ("speech",), "clipped": ("speech",), "noisy": ("speech",),
}

LISTEN = """async ({ base64, rate, channels, limits }) => {
  const octets = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const samples = new Float32Array(octets.buffer);
  const length = samples.length / channels;
  const context = new OfflineAudioContext(channels, length, rate);
  await context.audioWorklet.addModule('/check/meter-worklet.js');
  const listener = new AudioWorkletNode(context, 'greenroom-listener', { numberOfOutputs: 0, channelCountMode: 'max', processorOptions: limits });
  const buffer = context.createBuffer(channels, length, rate);
  for (let c = 0; c < channels; c += 1) buffer.copyToChannel(Float32Array.from({ length }, (_, n) => samples[n * channels + c]), c);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(listener);
  source.start();
  await context.startRendering();
  const { microphone: { told, heard } } = window.page;
  const found = { rate_hz: rate, channels: await told(listener.port) };
  return { found, said: heard(found, limits) };
}"""
HAND_IN = """async ({ session, microphone }) => {
  const run = {
    run: session.run, duration_ms: 5_000, browser: { system: 'Linux', isolated: true, hidden: 0 }, devices: ['microphone'],
    camera: null, speaker: { label: '', outcome: 'skipped' }, network: { state: 'not_tested', reason: 'none' },
    microphone: { label: '', failure: null, first_ms: 0, ran_ms: 5_000, ...microphone },
  };
  const response = await fetch('/api/v1/runs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(run) });
  return response.json();
}"""
LOOK = """async ({ width, height, range, scene, level, contrast, blur, noise, frames, limits }) => {
  const uniform = (seed) => {
    let state = seed;
    return () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return (state >>> 8) / 2 ** 23 - 1;
    };
  };
  const count = width * height;
  let shares = new Float64Array(count).fill(level);
  if (scene === 'tiles') {
    const across = Math.ceil(width / 20);
    const random = uniform(1);
    const tiles = Array.from({ length: across * Math.ceil(height / 20) }, () => level + contrast * random());
    shares = shares.map((_, n) => tiles[Math.floor(Math.floor(n / width) / 20) * across + Math.floor((n % width) / 20)]);
  }
  const at = (from, x, y) => from[Math.min(height - 1, Math.max(0, y)) * width + Math.min(width - 1, Math.max(0, x))];
  for (let k = 0; k < blur; k += 1) {
    const from = shares;
    shares = from.map((_, n) => {
      const [x, y] = [n % width, Math.floor(n / width)];
      let sum = 0;
      for (let dy = -1; dy <= 1; dy += 1) for (let dx = -1; dx <= 1; dx += 1) sum += at(from, x + dx, y + dy);
      return sum / 9;
    });
  }
  const { Watcher, seen } = window.page.camera;
  const context = new OffscreenCanvas(width, height).getContext('2d');
  const random = uniform(2);
  const watcher = new Watcher();
  for (let k = 0; k < frames; k += 1) {
    const picture = new ImageData(width, height);
    for (let n = 0; n < count; n += 1) {
      // A browser hands pictures on in full range, whatever they came in.
      const value = Math.round(255 * Math.min(1, Math.max(0, shares[n] + noise * random())));
      picture.data.set([value, value, value, 255], 4 * n);
    }
    context.putImageData(picture, 0, 0);
    watcher.look(context.canvas, width, height, k * 33);
  }
  return { seen: seen(watcher.frames, limits.picture), frames: watcher.frames };
}"""


def at(figures, path):
    """The figure at a path: its value, if it is measured; as the vectors' own test has it."""
    found = figures
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found.get(part)
        if found is None:
            return None
    if isinstance(found, dict) and "state" in found:
        return found.get("value") if found["state"] == "measured" else None
    return found


def fits(wanted, found):
    if isinstance(wanted, list):
        return isinstance(found, (int, float)) and wanted[0] <= found <= wanted[1]
    return found == wanted


def cases(Check, expect):
    def opened(browsers):
        check = Check(browsers, query="for=audio")
        check.page.evaluate("""async () => {
          window.page = { microphone: await import('/check/microphone.js'), camera: await import('/check/camera.js') };
        }""")
        return check

    def session(check):
        return check.page.evaluate("() => fetch('/api/v1/session').then((response) => response.json())")

    def sounds_by_the_vectors(browsers):
        check = opened(browsers)
        folder = pathlib.Path(os.environ["GREENROOM_FOLDER"]) / "vectors"
        vectors = json.loads((pathlib.Path(os.environ["GREENROOM_VECTORS"]) / "sound.json").read_text())
        wrong, passed = [], 0
        for n, vector in enumerate(vectors):
            # A page is told by nobody what the system thinks of a microphone: without permission it opens none.
            if "told" in vector:
                continue
            (file,) = folder.glob(f"{n}-*.f32")
            granted = session(check)
            asked = {"base64": base64.b64encode(file.read_bytes()).decode(), "rate": vector["rate"], "channels": int(file.stem.split("-")[1]), "limits": granted["limits"]}
            heard = check.page.evaluate(LISTEN, asked)
            report = check.page.evaluate(HAND_IN, {"session": granted, "microphone": heard["found"]})
            expect("devices" in report, vector["name"], report)
            sound = report["devices"]["microphones"][0]["sound"]
            # What breaks off in a browser is told, and held against no microphone.
            expect(sound["dropouts"]["state"] == "not_tested", sound["dropouts"])
            sound["dropouts"] = report["settings"]["run"].get("microphone_breaks", sound["dropouts"])
            for path, wanted in vector["expect"].items():
                if not path.startswith(UNSEEN) and not fits(wanted, at(sound, path)):
                    wrong.append(f"{vector['name']}: {path}: expected {wanted}, found {at(sound, path)}")
            if at(sound, "heard") not in SAID.get(heard["said"], ()):
                wrong.append(f"{vector['name']}: the page says {heard['said']}, the report {at(sound, 'heard')}")
            passed += 1
        expect(not wrong, "\n".join(wrong))
        expect(passed == sum("told" not in vector for vector in vectors) > 30, passed)
        expect(check.errors == [], check.errors)

    def pictures_by_the_vectors(browsers):
        check = opened(browsers)
        limits = session(check)["limits"]
        wrong = []
        for vector in json.loads((pathlib.Path(os.environ["GREENROOM_VECTORS"]) / "pictures.json").read_text()):
            found = check.page.evaluate(LOOK, {**vector, "limits": limits})
            mean = lambda name: (lambda all: sum(all) / len(all) if all else None)([frame[name] for frame in found["frames"] if frame[name] is not None])
            run = longest = 1
            for frame in found["frames"]:
                run = run + 1 if frame["same"] else 1
                longest = max(longest, run)
            figures = {"seen": found["seen"], "luma_mean_ratio": mean("mean"), "luma_spread_ratio": mean("spread"), "overexposed_ratio": mean("white"), "sharpness": mean("sharp"), "identical_run": longest}
            wrong += [f"{vector['name']}: {path}: expected {wanted}, found {figures[path]}" for path, wanted in vector["expect"].items() if not fits(wanted, figures[path])]
        expect(not wrong, "\n".join(wrong))
        expect(check.errors == [], check.errors)

    return {case.__name__: case for case in (sounds_by_the_vectors, pictures_by_the_vectors)}
