// What this computer and this browser can do, tried out rather than read from a table of browsers.

import { effects, pictures, speeds } from './drawing.js';
import { within } from './time.js';

const SIZES = { 360: [640, 360, 600_000], 720: [1280, 720, 1_700_000], 1080: [1920, 1080, 3_000_000] };
const FPS = 30;
/** Pictures that are encoded of each size, and how long that may take: half a second of video, in real time at the worst. */
const FRAMES = 15;
const ENCODE_MS = 1_500;
/** A computer that takes longer than this to encode is not asked to draw as well: the result does not wait for it. */
const DRAWS_WITHIN_MS = 2_500;
/** In the order in which calls ask for them. */
const CODECS = [['vp8', 'vp8'], ['h264', 'avc1.42E028']];

/** What the browser has. */
export function abilities() {
  return {
    secure_context: window.isSecureContext === true,
    cross_origin_isolated: self.crossOriginIsolated === true,
    web_transport: 'WebTransport' in window,
    web_rtc: 'RTCPeerConnection' in window,
    web_codecs: 'VideoEncoder' in window,
    audio_worklet: 'AudioWorklet' in window,
    screen_capture: Boolean(navigator.mediaDevices?.getDisplayMedia),
    speaker_choice: 'setSinkId' in HTMLMediaElement.prototype,
    offscreen_canvas: 'OffscreenCanvas' in window,
    web_gpu: 'gpu' in navigator,
  };
}

/**
 * Looks at the computer.
 * @param {number[]} lines sizes of pictures that are encoded
 * @param {AbortSignal} signal ends it between two steps
 * @returns {{ machine: object, whole: Promise<void> }} what is known at once, to which the rest is added until it is whole
 */
export function look(lines, signal) {
  const { name, software } = graphics();
  const machine = {
    cores: navigator.hardwareConcurrency ?? null,
    memory_gb: navigator.deviceMemory ?? null,
    graphics: name,
    software_drawing: software,
    clock_step_us: clockStep(),
    can: abilities(),
    encode: [],
    drawing: [],
    effects: null,
  };
  return { machine, whole: tryOut(machine, lines, signal) };
}

async function tryOut(machine, lines, signal) {
  const began = performance.now();
  for (const height of lines) {
    const found = await encodes(height).catch(() => null);
    if (found) machine.encode.push(found);
    if (signal.aborted) return;
  }
  if (lines.length === 0 || performance.now() - began > DRAWS_WITHIN_MS) return;
  const [most] = lines.slice(-1);
  const source = pictures(...SIZES[most]);
  // First what needs WebGL: where WebGPU makes the browser's drawing process end, it takes that with it.
  machine.effects = { lines: most, renderer: 'webgl', ...await effects(source) };
  if (signal.aborted) return;
  machine.drawing = (await speeds(source)).map((run) => ({ lines: most, ...run }));
}

/** The smallest step that the page's clock makes. */
function clockStep() {
  let least = Infinity;
  const until = performance.now() + 5;
  for (let before = performance.now(), now = before; now < until; before = now) {
    now = performance.now();
    if (now > before) least = Math.min(least, now - before);
  }
  return Number.isFinite(least) ? Math.round(least * 1e6) / 1e3 : null;
}

function graphics() {
  try {
    const gl = document.createElement('canvas').getContext('webgl');
    if (!gl) return { name: null, software: true };
    const more = gl.getExtension('WEBGL_debug_renderer_info');
    const name = String(gl.getParameter(more ? more.UNMASKED_RENDERER_WEBGL : gl.RENDERER)).slice(0, 200);
    gl.getExtension('WEBGL_lose_context')?.loseContext();
    return { name, software: /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name) };
  } catch {
    return { name: null, software: null };
  }
}

/** How many times faster than real time pictures of a size are encoded. */
async function encodes(lines) {
  if (!('VideoEncoder' in window)) return null;
  const [width, height, bitrate] = SIZES[lines];
  const base = { width, height, bitrate, framerate: FPS, latencyMode: 'realtime' };
  for (const [codec, string] of CODECS) {
    for (const hardwareAcceleration of ['prefer-hardware', 'no-preference']) {
      const config = { ...base, codec: string, hardwareAcceleration };
      const { supported } = await within(VideoEncoder.isConfigSupported(config), 1_000).catch(() => ({ supported: false }));
      if (!supported) continue;
      const done = await run(config).catch(() => null);
      if (done) return { lines, codec, hardware: hardwareAcceleration === 'prefer-hardware', ...done };
    }
  }
  return null;
}

async function run(config) {
  let failed = null;
  let came = 0;
  const encoder = new VideoEncoder({ output: () => { came += 1; }, error: (error) => { failed = error; } });
  try {
    encoder.configure(config);
    const { width, height } = config;
    const picture = texture(width, height);
    // The first picture makes the encoder ready, which is no part of its speed.
    encode(encoder, picture, width, height, 0);
    await within(encoder.flush(), ENCODE_MS);
    const began = performance.now();
    for (let n = 1; n <= FRAMES; n += 1) {
      encode(encoder, picture, width, height, n);
      if (performance.now() - began > ENCODE_MS) break;
    }
    const frames = came;
    await within(encoder.flush(), 2 * ENCODE_MS);
    const took = performance.now() - began;
    const encoded = came - Math.min(frames, 1);
    if (failed || encoded < 3) return null;
    return { times_real_time: Math.round(((encoded / FPS) * 1e5) / took) / 100, frames: encoded };
  } finally {
    if (encoder.state !== 'closed') encoder.close();
  }
}

/** I420 with something in it that moves: a grey picture costs nothing to encode. */
function texture(width, height) {
  const octets = new Uint8Array((width * height * 3) / 2 + 64 * width).fill(128);
  let state = 1;
  for (let i = 0; i < width * height + 64 * width; i += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    octets[i] = 96 + ((i >> 5) & 63) + (state >>> 30);
  }
  return octets;
}

function encode(encoder, picture, width, height, n) {
  const data = picture.subarray(n * 2 * width, n * 2 * width + (width * height * 3) / 2);
  const frame = new VideoFrame(data, { format: 'I420', codedWidth: width, codedHeight: height, timestamp: (n * 1e6) / FPS });
  encoder.encode(frame, { keyFrame: n === 0 });
  frame.close();
}
