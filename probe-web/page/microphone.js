// What a microphone hears, as figures. What that is called is decided by the server, with the limits that it hands out; the page says the
// same at once, by the same method (greenroom-reports' `signals::sound`).

import { within } from './time.js';

const NOTHING_DBFS = -150;
/** A Bluetooth headset is silent while it changes to its call mode: so long nothing but zeros is waited out. */
const GAP_MS = 2_000;
/** How long the audio thread may take to tell what it has counted. */
const TELL_MS = 2_000;
/** ITU-T P.56: active level less threshold. */
const MARGIN_DB = 15.9;

/** The level of a mean square, full scale being 1. */
export const dbfs = (square) => (square > 0 ? Math.max(NOTHING_DBFS, 10 * Math.log10(square)) : NOTHING_DBFS);

/**
 * Listens until somebody has spoken for long enough, or the time is up.
 * @param {MediaStream} stream
 * @param {number} ms
 * @param {object} limits the server's
 * @param {(level: number) => void} show is given the level of each frame of 20 ms
 */
export async function listen(stream, ms, limits, show) {
  const track = stream.getAudioTracks()[0];
  const began = performance.now();
  const found = { ended: false, rate_hz: null, label: track.label, channels: [] };
  let context = null;
  try {
    // At the microphone's own rate, where the browser tells it: brought to another one, what was cut off is flat no longer.
    context = new AudioContext({ sampleRate: track.getSettings().sampleRate });
    // Without an output device Firefox never starts it: then there is no rate.
    await within(context.resume(), 4_000);
    await within(context.audioWorklet.addModule(new URL('./meter-worklet.js', import.meta.url)), 4_000);
    const listener = new AudioWorkletNode(context, 'greenroom-listener', { numberOfOutputs: 0, channelCountMode: 'max', processorOptions: limits });
    context.createMediaStreamSource(stream).connect(listener);
    found.ended = await collect(listener.port, track, ms, show);
    if (!found.ended && !heardAnything(listener.port)) found.ended = await collect(listener.port, track, GAP_MS, show);
    found.channels = await told(listener.port);
    found.rate_hz = Math.round(context.sampleRate);
  } catch {
    found.ended ||= track.readyState === 'ended';
  } finally {
    context?.close().catch(() => {});
  }
  return { ...found, ran_ms: performance.now() - began };
}

const sounded = new WeakSet();
const heardAnything = (port) => sounded.has(port);

function collect(port, track, ms, show) {
  return new Promise((resolve) => {
    const onEnded = () => finish(true);
    const finish = (ended) => {
      clearTimeout(timer);
      track.removeEventListener('ended', onEnded);
      port.onmessage = null;
      resolve(ended);
    };
    const timer = setTimeout(() => finish(track.readyState === 'ended'), ms);
    track.addEventListener('ended', onEnded);
    port.onmessage = ({ data }) => {
      sounded.add(port);
      show(dbfs(data.square));
    };
  });
}

/** What each channel came to; of all but the loudest one only how loud they were. */
export async function told(port) {
  const asked = new Promise((resolve) => {
    port.onmessage = ({ data }) => { if (data.told) resolve(data.told); };
  });
  port.postMessage('tell');
  const channels = await within(asked, TELL_MS);
  const most = loudest(channels);
  return channels.map((channel) => (channel === most ? channel : { ...channel, frames: [], windows: [] }));
}

/** Root mean square without the mean. */
function rms({ samples, sum, squares, least, greatest }) {
  return least === greatest ? NOTHING_DBFS : dbfs(squares / samples - (sum / samples) ** 2);
}

/** The channel whose figures stand for the whole: of equals the first. */
const loudest = (channels) => channels.reduce((best, channel) => (best && rms(best) >= rms(channel) ? best : channel), null);

/** What was heard, by the server's limits. */
export function heard({ rate_hz, channels }, { sound, ...limits }) {
  const channel = loudest(channels);
  if (!channel || channel.samples === 0) return rate_hz === null ? 'deaf' : 'none';
  const { least, greatest, samples, clipped, broken } = channel;
  const most = Math.max(Math.abs(least), Math.abs(greatest));
  if (greatest - least <= sound.zeros_within && most <= sound.zeros_within) return 'silent';
  if (least === greatest || broken.repeated_samples / samples >= sound.stuck_ratio) return 'stuck';
  const { floor, speech } = levels({ channels }, { sound, ...limits });
  if (speech === null) return rms(channel) < sound.dead_dbfs ? 'silent' : 'nobody_spoke';
  if (clipped.samples / samples > sound.clipped_ratio) return 'clipped';
  if (speech < sound.too_quiet_dbfs) return 'too_quiet';
  return floor > sound.noisy_dbfs ? 'noisy' : 'speech';
}

/** The noise between the words, and how loud the words are; `null` where there is none. */
export function levels({ channels }, { sound }) {
  const channel = loudest(channels);
  if (!channel) return { floor: null, speech: null };
  const mean = channel.sum / channel.samples;
  const row = channel.frames.map(([m, variance]) => dbfs(variance + (m - mean) ** 2));
  const floor = tenth(row.filter((level) => level > NOTHING_DBFS));
  return { floor, speech: floor !== null && spoke(row, floor, channel.windows, sound) ? activeLevel(channel.active) : null };
}

/** The tenth percentile. */
const tenth = (row) => [...row].sort((a, b) => a - b)[Math.floor(row.length / 10)] ?? null;

/** Whether somebody spoke: enough frames stand out of the floor, unevenly, and there is a voice in enough windows. */
function spoke(row, floor, windows, limits) {
  const active = row.filter((level) => level >= floor + limits.active_above_floor_db);
  const mean = active.reduce((sum, level) => sum + level, 0) / Math.max(1, active.length);
  const spread = Math.sqrt(active.reduce((sum, level) => sum + (level - mean) ** 2, 0) / Math.max(1, active.length));
  return active.length >= limits.least_active_frames && spread >= limits.least_spread_db && voiced(windows, limits) >= limits.least_voiced_windows;
}

/** How many windows hold a voice that lasts. */
function voiced(windows, limits) {
  const from = tenth(windows.map(([level]) => level)) + limits.active_above_floor_db;
  let [count, row] = [0, 0];
  for (const [level, alike, peak] of [...windows, [-Infinity, 0, 1]]) {
    if (level >= from && alike >= limits.voice_alike && peak <= limits.voice_even_ratio) {
      row += 1;
      continue;
    }
    if (row >= limits.voice_windows_in_a_row) count += row;
    row = 0;
  }
  return count;
}

/** The active speech level (ITU-T P.56, method B); `null` when too quiet for it. */
function activeLevel({ squares, above }) {
  let before = null;
  for (const [k, count] of above.entries()) {
    if (count === 0) return null;
    const level = 10 * Math.log10(squares / count);
    const margin = level - 20 * Math.log10(2 ** (k - above.length));
    if (margin <= MARGIN_DB) return before && before.level + ((level - before.level) * (before.margin - MARGIN_DB)) / (before.margin - margin);
    before = { level, margin };
  }
  return null;
}
