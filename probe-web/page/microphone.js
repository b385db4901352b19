// What a microphone hears, as figures. What that is called is decided by the server, with the limits that it hands out.

import { within } from './time.js';

const NOTHING_DBFS = -150;
/** A Bluetooth headset is silent while it changes to its call mode: so long nothing but zeros is waited out. */
const GAP_MS = 2_000;

/** The level of a mean square, full scale being 1. */
export const dbfs = (square) => (square > 0 ? Math.max(NOTHING_DBFS, 10 * Math.log10(square)) : NOTHING_DBFS);

/**
 * Listens until somebody has spoken for long enough, or the time is up.
 * @param {MediaStream} stream
 * @param {number} ms
 * @param {(level: number) => void} show is given the level of each block
 */
export async function listen(stream, ms, show) {
  const track = stream.getAudioTracks()[0];
  const began = performance.now();
  const blocks = [];
  let context = null;
  try {
    context = new AudioContext();
    // Without an output device Firefox never starts it: then there is no rate.
    await within(context.resume(), 4_000);
    await within(context.audioWorklet.addModule(new URL('./meter-worklet.js', import.meta.url)), 4_000);
    const source = context.createMediaStreamSource(stream);
    const meter = new AudioWorkletNode(context, 'greenroom-meter', { numberOfOutputs: 0, channelCountMode: 'max' });
    source.connect(meter);
    let ended = await collect(meter.port, track, ms, blocks, show);
    if (!ended && isNothing(blocks)) ended = await collect(meter.port, track, GAP_MS, blocks, show);
    while (!isNothing(blocks) && isNothing(blocks.slice(0, 1))) blocks.shift();
    return { ended, ran_ms: performance.now() - began, rate_hz: context.sampleRate, label: track.label, muted: track.muted, ...sum(blocks) };
  } catch {
    return { ended: track.readyState === 'ended', ran_ms: performance.now() - began, rate_hz: null, label: track.label, muted: track.muted, ...sum(blocks) };
  } finally {
    context?.close().catch(() => {});
  }
}

function collect(port, track, ms, blocks, show) {
  return new Promise((resolve) => {
    const finish = (ended) => {
      clearTimeout(timer);
      port.onmessage = null;
      resolve(ended);
    };
    const timer = setTimeout(() => finish(track.readyState === 'ended'), ms);
    track.addEventListener('ended', () => finish(true), { once: true });
    port.onmessage = ({ data }) => {
      blocks.push(data);
      show(dbfs(data.squares / data.samples));
    };
  });
}

const isNothing = (blocks) => blocks.every((block) => block.least === 0 && block.greatest === 0);

/** One row of levels, and the sums. */
function sum(blocks) {
  const total = { samples: 0, squares: 0, offset: 0, least: 0, greatest: 0, clipped: 0, runs: 0 };
  for (const block of blocks) {
    total.samples += block.samples;
    total.squares += block.squares;
    total.offset += block.sum;
    total.least = blocks[0] === block ? block.least : Math.min(total.least, block.least);
    total.greatest = blocks[0] === block ? block.greatest : Math.max(total.greatest, block.greatest);
    total.clipped += block.clipped;
    total.runs += block.runs;
  }
  const level = (block) => {
    const mean = block.sum / block.samples;
    return Math.round(dbfs(block.squares / block.samples - mean * mean) * 10) / 10;
  };
  return { ...total, levels_dbfs: blocks.map(level) };
}

/** What was heard, by the server's limits. */
export function heard(sound, limits) {
  if (sound.samples === 0) return sound.rate_hz === null ? 'deaf' : 'none';
  const range = sound.greatest - sound.least;
  const most = Math.max(Math.abs(sound.least), Math.abs(sound.greatest));
  if (range <= limits.zeros_within && most <= limits.zeros_within) return 'silent';
  if (range === 0) return 'stuck';
  const { floor, speech } = levels(sound.levels_dbfs, limits);
  if (sound.clipped / sound.samples > limits.clipped_ratio) return 'clipped';
  if (speech === null) return dbfs(sound.squares / sound.samples) < limits.dead_dbfs ? 'silent' : 'nobody_spoke';
  if (speech < limits.too_quiet_dbfs) return 'too_quiet';
  return floor > limits.noisy_dbfs ? 'noisy' : 'speech';
}

/** The noise between the words, and how loud the words are; `null` when nobody spoke. */
export function levels(row, limits) {
  const sorted = [...row].sort((a, b) => a - b);
  const floor = sorted[Math.floor(sorted.length / 10)] ?? NOTHING_DBFS;
  const active = row.filter((level) => level > floor + limits.active_above_floor_db && level > limits.dead_dbfs);
  if (active.length < limits.least_active_frames) return { floor, speech: null };
  const power = active.reduce((total, level) => total + 10 ** (level / 10), 0) / active.length;
  return { floor, speech: dbfs(power) };
}
