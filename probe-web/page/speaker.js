// A test sound, on the speaker that was chosen.

import { pause, within } from './time.js';

/** Notes of the sound, in Hz: far enough apart to be heard on a laptop and by most ears. */
const NOTES = [523.25, 659.25, 783.99];
const NOTE_S = 0.28;

/** Whether this browser lets a page choose. */
export const canChoose = () => 'setSinkId' in AudioContext.prototype;

/**
 * Plays the sound; whether the browser did.
 * @param {string} [id]
 */
export async function play(id) {
  let context = null;
  try {
    context = new AudioContext();
    if (id && 'setSinkId' in context) await within(context.setSinkId(id), 3_000);
    await within(context.resume(), 3_000);
    const begin = context.currentTime + 0.05;
    NOTES.forEach((hz, index) => note(context, hz, begin + index * NOTE_S));
    await pause((NOTES.length * NOTE_S + 0.4) * 1000);
    return context.state === 'running' && context.currentTime > begin;
  } catch {
    return false;
  } finally {
    context?.close().catch(() => {});
  }
}

function note(context, hz, at) {
  const tone = context.createOscillator();
  const gain = context.createGain();
  tone.frequency.value = hz;
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(0.3, at + 0.02);
  gain.gain.exponentialRampToValueAtTime(0.001, at + NOTE_S + 0.25);
  tone.connect(gain).connect(context.destination);
  tone.start(at);
  tone.stop(at + NOTE_S + 0.3);
}
