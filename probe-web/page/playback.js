// The person's own voice, recorded and played to them: as others hear it, with the processing that calls use. The check itself listens
// without, since that hides what is wrong with a microphone. The recording does not leave this page, and is gone once it was played.

import { open, stop } from './devices.js';
import { dbfs } from './microphone.js';
import { playSamples, playing, record } from './recording.js';
import { pause, unless, within } from './time.js';

const RECORD_MS = 4_000;
/** A Bluetooth headset is silent while it changes to its call mode: so long nothing but zeros is waited out. */
const GAP_S = 2;
/** How much longer than it should the audio clock may take: one that stands still is not waited for. */
const STUCK_MS = 5_000;
const LOOK_MS = 50;
const CALL = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/**
 * Records for some seconds and plays it. It always settles, and leaves nothing switched on.
 * @param {import('./greenroom-check.js').PlaybackOptions} [options]
 * @returns {Promise<import('./greenroom-check.js').Playback>}
 */
export async function playBack({ microphone, speaker, ms = RECORD_MS, signal = new AbortController().signal, onlevel = () => {}, onstate = () => {} } = {}) {
  const found = { outcome: 'failed', recorded_ms: 0, processing: null };
  let player = null;
  const asked = open('microphone', microphone, CALL);
  try {
    const opened = await unless(asked, signal);
    if (typeof opened === 'string') return { ...found, outcome: opened };
    const { stream } = opened;
    found.processing = processing(stream);
    found.outcome = 'deaf';
    // A speaker that was taken away is no reason not to be heard.
    player = playing(speaker).catch((error) => (speaker ? playing() : Promise.reject(error)));
    const context = await unless(player, signal);
    found.outcome = 'failed';
    onstate('recording');
    const samples = await recorded(context, stream, { ms, signal, onlevel });
    if (samples === null) return { ...found, outcome: 'ended' };
    found.recorded_ms = (samples.length * 1000) / context.sampleRate;
    if (samples.every((x) => x === 0)) return { ...found, outcome: 'silent' };
    onstate('playing');
    // The microphone stays on until the end: a Bluetooth headset that left its call mode would cut the beginning off.
    await unless(within(playSamples(context, samples), ms + STUCK_MS), signal);
    return { ...found, outcome: 'played' };
  } catch {
    return signal.aborted ? { ...found, outcome: 'stopped' } : found;
  } finally {
    // Also what opens after it was given up.
    asked.then(({ stream }) => { if (stream) stop(stream); });
    player?.then((context) => context.close()).catch(() => {});
  }
}

/** What the browser says that it does to the sound. */
function processing(stream) {
  const { echoCancellation, noiseSuppression, autoGainControl } = stream.getAudioTracks()[0].getSettings();
  return { echo_cancellation: echoCancellation ?? null, noise_suppression: noiseSuppression ?? null, auto_gain_control: autoGainControl ?? null };
}

/** So many milliseconds of sound, from the first on that is not zero, if that comes within the gap; `null` where the microphone went away. */
async function recorded(context, stream, { ms, signal, onlevel }) {
  const rate = context.sampleRate;
  const track = stream.getAudioTracks()[0];
  let began = null;
  let [squares, count] = [0, 0];
  const take = await record(context, stream, ({ at, samples }) => {
    if (began === null && samples.some((x) => x !== 0)) began = at;
    squares += samples.reduce((sum, x) => sum + x * x, 0);
    count += samples.length;
    if (count < rate / 50) return;
    onlevel(dbfs(squares / count));
    [squares, count] = [0, 0];
  });
  const from = Math.round(context.currentTime * rate);
  const latest = performance.now() + GAP_S * 1000 + ms + STUCK_MS;
  const until = () => (began ?? from + GAP_S * rate) / rate + ms / 1000;
  while (context.currentTime < until() && track.readyState === 'live') {
    if (performance.now() > latest) throw new Error('the audio clock stands still');
    await unless(pause(LOOK_MS), signal);
  }
  return track.readyState === 'live' ? take(began ?? from, Math.round((ms * rate) / 1000)) : null;
}
