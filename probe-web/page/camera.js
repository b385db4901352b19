// What a camera delivers: when frames came, how bright each is, whether it is the one before again. What that is called is decided by
// the server, with the limits that it hands out; the page uses the same limits to say something at once.

const WIDTH = 64;
const HEIGHT = 48;
/** Frames that are looked at, at most: what a report may carry. */
const MOST_FRAMES = 600;

/**
 * Watches a camera's stream for a while.
 * @param {MediaStream} stream
 * @param {HTMLVideoElement} video
 * @param {number} ms
 */
export async function watch(stream, video, ms) {
  const track = stream.getVideoTracks()[0];
  const began = performance.now();
  const frames = [];
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  let before = null;
  const look = (at) => {
    if (frames.length >= MOST_FRAMES) return;
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const pixels = context.getImageData(0, 0, WIDTH, HEIGHT).data;
    frames.push({ at_ms: round(at - began), ...brightness(pixels), same: before !== null && isSame(pixels, before) });
    before = pixels;
  };
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
    frames,
  };
}

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
  return average(frames, 'white') > limits.overexposed_ratio ? 'overexposed' : 'picture';
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
