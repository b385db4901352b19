// What a camera delivers: when frames came, how bright each is, whether it is the one before again. What that is called is decided by
// the server, with the limits that it hands out; the page uses the same limits to say something at once.

import { within } from './time.js';

const WIDTH = 64;
const HEIGHT = 48;
/** Frames that are looked at, at most: what a report may carry. */
const MOST_FRAMES = 600;
/** Fine detail is looked for in every so manieth frame: it takes a look at the whole picture. */
const DETAIL_EVERY = 10;
/** Width to which frames are brought down for that, as the server's own code does. */
const DETAIL_WIDTH = 640;
/** How long each size is watched, and how long the camera may take to change. */
const SIZE_MS = 700;
const CHANGE_MS = 3_000;
const WIDTHS = { 360: 640, 720: 1280, 1080: 1920 };

/**
 * Watches a camera's stream for a while.
 * @param {MediaStream} stream
 * @param {HTMLVideoElement} video
 * @param {number} ms
 */
export async function watch(stream, video, ms) {
  const track = stream.getVideoTracks()[0];
  const began = performance.now();
  const watcher = new Watcher();
  const look = (at) => watcher.look(video, video.videoWidth, video.videoHeight, at - began);
  video.srcObject = stream;
  // Some browsers reject while the element is not shown; frames come all the same.
  video.play().catch(() => {});
  const counted = track.stats?.totalFrames;
  const ended = await follow(video, track, ms, look);
  const came = track.stats?.totalFrames - counted;
  const settings = track.getSettings();
  return {
    ended,
    ran_ms: round(performance.now() - began),
    given: { width: settings.width ?? video.videoWidth, height: settings.height ?? video.videoHeight, fps: settings.frameRate ?? null },
    label: track.label,
    // The camera's own count, where the browser tells it: a busy computer draws fewer.
    came: Number.isFinite(came) && came >= 0 ? came : null,
    frames: watcher.frames,
  };
}

/** What pictures look like, one after the other. */
export class Watcher {
  frames = [];
  #small = drawing(WIDTH, HEIGHT);
  #whole = drawing(1, 1);
  #before = null;

  /** Looks at a picture of a size, at so many milliseconds. */
  look(picture, width, height, at_ms) {
    const { frames } = this;
    if (frames.length >= MOST_FRAMES) return;
    this.#small.drawImage(picture, 0, 0, WIDTH, HEIGHT);
    const pixels = this.#small.getImageData(0, 0, WIDTH, HEIGHT).data;
    const sharp = frames.length % DETAIL_EVERY === 0 ? sharpness(this.#whole, picture, width, height) : null;
    frames.push({ at_ms: round(at_ms), ...brightness(pixels), same: this.#before !== null && isSame(pixels, this.#before), sharp });
    this.#before = pixels;
  }
}

const drawing = (width, height) => Object.assign(document.createElement('canvas'), { width, height }).getContext('2d', { willReadFrequently: true });

/** Calls `look` with each frame until the time is up or the track ends; whether it ended. */
function follow(video, track, ms, look) {
  return new Promise((resolve) => {
    let over = false;
    const finish = (ended) => {
      over = true;
      clearTimeout(timer);
      track.removeEventListener('ended', onEnded);
      resolve(ended);
    };
    const onEnded = () => finish(true);
    const timer = setTimeout(() => finish(track.readyState === 'ended'), ms);
    track.addEventListener('ended', onEnded);
    const next = (now, metadata) => {
      if (over) return;
      look(metadata?.presentationTime ?? now);
      ask();
    };
    let last = -1;
    const poll = (now) => {
      if (over) return;
      if (video.currentTime !== last && video.readyState >= 2) {
        last = video.currentTime;
        look(now);
      }
      requestAnimationFrame(poll);
    };
    const ask = () => video.requestVideoFrameCallback(next);
    if ('requestVideoFrameCallback' in video) ask();
    else requestAnimationFrame(poll);
  });
}

/** Mean and spread of brightness and the share that is white, of white (ITU-R BT.601). */
function brightness(pixels) {
  let sum = 0;
  let squares = 0;
  let white = 0;
  const count = pixels.length / 4;
  for (let i = 0; i < pixels.length; i += 4) {
    const luma = (0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2]) / 255;
    sum += luma;
    squares += luma * luma;
    if (luma >= 0.97) white += 1;
  }
  const mean = sum / count;
  return { mean: round(mean, 4), spread: round(Math.sqrt(Math.max(0, squares / count - mean * mean)), 4), white: round(white / count, 4) };
}

/**
 * Fine detail, as greenroom-reports has it (`signals::picture`): variance of the Laplacian over that of brightness, of the frame brought
 * down by a whole factor and smoothed 1 2 1 both ways. `null` where there is nothing in it.
 */
function sharpness(context, picture, across, down) {
  const by = Math.ceil(across / DETAIL_WIDTH);
  const width = Math.floor(across / by);
  const height = Math.floor(down / by);
  if (!(width >= 5 && height >= 5)) return null;
  Object.assign(context.canvas, { width, height });
  context.drawImage(picture, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data;
  const luma = new Float32Array(width * height);
  for (let i = 0; i < luma.length; i += 1) luma[i] = 0.299 * pixels[4 * i] + 0.587 * pixels[4 * i + 1] + 0.114 * pixels[4 * i + 2];
  const three = (from, step, i) => from[i - step] + 2 * from[i] + from[i + step];
  const rows = luma.map((_, i) => (i % width > 0 && i % width < width - 1 ? three(luma, 1, i) : 0));
  const smooth = rows.map((_, i) => (i >= width && i < rows.length - width ? three(rows, width, i) / 16 : 0));
  const bright = new Spread();
  const detail = new Spread();
  for (let y = 2; y < height - 2; y += 1) {
    for (let i = y * width + 2; i < (y + 1) * width - 2; i += 1) {
      bright.take(smooth[i]);
      detail.take(smooth[i - 1] + smooth[i + 1] + smooth[i - width] + smooth[i + width] - 4 * smooth[i]);
    }
  }
  return bright.variance > 0 ? round(detail.variance / bright.variance, 6) : null;
}

class Spread {
  count = 0;
  sum = 0;
  squares = 0;

  take(x) {
    this.count += 1;
    this.sum += x;
    this.squares += x * x;
  }

  get variance() {
    return Math.max(0, this.squares / this.count - (this.sum / this.count) ** 2);
  }
}

/**
 * Asks the camera for each size in turn and counts what comes. It is left at the one it had.
 * @param {MediaStream} stream
 * @param {HTMLVideoElement} video
 * @param {number[]} lines
 */
export async function sizes(stream, video, lines) {
  const track = stream.getVideoTracks()[0];
  const before = track.getConstraints();
  const found = [];
  for (const height of lines) {
    if (track.readyState !== 'live') break;
    found.push({ lines: height, ...await size(track, video, height) });
  }
  await within(track.applyConstraints(before), CHANGE_MS).catch(() => {});
  return found;
}

async function size(track, video, height) {
  try {
    await within(track.applyConstraints({ ...track.getConstraints(), width: { exact: WIDTHS[height] }, height: { exact: height } }), CHANGE_MS);
  } catch {
    return { given: null, came_fps: null };
  }
  const counted = track.stats?.totalFrames;
  const began = performance.now();
  let drawn = 0;
  await follow(video, track, SIZE_MS, () => { drawn += 1; });
  const came = track.stats?.totalFrames - counted;
  const { width, height: given, frameRate } = track.getSettings();
  const frames = Number.isFinite(came) && came > 0 ? came : drawn;
  return { given: { width, height: given, fps: frameRate ?? null }, came_fps: round((frames * 1000) / (performance.now() - began), 1) };
}

function isSame(a, b) {
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false;
  return true;
}

/** What the frames show, by the server's limits. */
export function seen(frames, limits) {
  if (frames.length === 0) return 'none';
  const mean = average(frames, 'mean');
  const spread = average(frames, 'spread');
  let run = 1;
  let longest = 1;
  for (const frame of frames) {
    run = frame.same ? run + 1 : 1;
    longest = Math.max(longest, run);
  }
  if (mean < limits.black_mean_ratio && spread < limits.black_spread_ratio) return 'black';
  if (longest >= limits.frozen_frames) return 'frozen';
  if (mean < limits.covered_mean_ratio && spread < Math.min(limits.covered_spread_ratio, limits.covered_structure_ratio * mean)) return 'covered';
  if (mean < limits.dark_mean_ratio) return 'dark';
  if (average(frames, 'white') > limits.overexposed_ratio) return 'overexposed';
  const sharp = frames.filter((frame) => frame.sharp !== null);
  const blurred = sharp.length > 0 && spread >= limits.blurred_spread_ratio && average(sharp, 'sharp') < limits.blurred_sharpness;
  return blurred ? 'blurred' : 'picture';
}

/** Frames per second that came; as far as they were drawn, where the browser does not count them. */
export function rate({ came, ran_ms, frames }) {
  if (came !== null && ran_ms > 0) return (came * 1000) / ran_ms;
  if (frames.length < 2) return 0;
  const time = frames[frames.length - 1].at_ms - frames[0].at_ms;
  return time > 0 ? ((frames.length - 1) * 1000) / time : 0;
}

const average = (frames, name) => frames.reduce((sum, frame) => sum + frame[name], 0) / frames.length;

function round(value, digits = 2) {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}
