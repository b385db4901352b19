// The speaker: plays a sweep, and listens whether the microphone hears it. What it recorded does not leave this page.

import { list } from './devices.js';
import { playSamples, playing, record } from './recording.js';
import { find, sweep } from './sweep.js';
import { pause, unless } from './time.js';

/** What comes back later than this is not heard: Bluetooth both ways takes half a second. */
const LATEST_S = 0.8;
/** Time for the recording to begin before the sound does. */
const LEAD_S = 0.3;

/**
 * Plays the sweep; whether the browser did, and what the microphone heard of it.
 * @param {string} [id] the speaker
 * @param {MediaStream|null} [microphone]
 * @returns {Promise<{ played: boolean, echo: { confidence_db: number, delay_ms: number, return_db: number } | null }>}
 */
export async function play(id, microphone = null) {
  let context = null;
  try {
    context = await playing(id);
    const recorded = microphone ? await record(context, microphone).catch(() => null) : null;
    const rate = context.sampleRate;
    const samples = sweep(rate);
    const begin = Math.ceil((context.currentTime + LEAD_S) * rate) / rate;
    playSamples(context, samples, begin);
    const lasts = LEAD_S + samples.length / rate + LATEST_S;
    await pause((lasts + 0.2) * 1000);
    const played = context.state === 'running' && context.currentTime > begin;
    const from = Math.round(begin * rate);
    const heard = played && recorded ? await find(recorded(from, Math.round((samples.length / rate + LATEST_S) * rate)), rate) : null;
    return { played, echo: heard };
  } catch {
    return { played: false, echo: null };
  } finally {
    context?.close().catch(() => {});
  }
}

/** Plays the sweep; where the microphone does not hear it, the person is asked. What came of it. */
export async function ask({ microphone, limits, chosen, answer, signal, tell }) {
  const id = () => chosen.speaker;
  const labels = list('speaker');
  const isSure = () => echo !== null && echo.confidence_db >= limits.sweep.sure_db;
  let echo = null;
  const go = async () => {
    tell({ step: 'speaker', state: 'running', code: 'playing' });
    const result = await play(id(), live(microphone));
    echo = result.echo ?? echo;
    if (!result.played) return 'failed';
    return isSure() ? 'heard' : 'played';
  };
  tell({ step: 'speaker', state: 'asking', code: 'play' });
  const answered = answer ? answer({ question: 'speaker', play: go }) : go().then((came) => (came === 'played' ? 'skipped' : came));
  const outcome = await unless(Promise.resolve(answered), signal);
  const devices = await labels;
  const one = devices.find((device) => device.deviceId === id()) ?? devices[0];
  const sure = outcome === 'heard' && isSure();
  const state = { heard: 'good', skipped: 'done' }[outcome] ?? 'bad';
  tell({ step: 'speaker', state, code: sure ? 'verified' : outcome, figures: sure ? echo : undefined });
  return { outcome, label: one?.label ?? '', echo };
}

/** A stream that still has something to hear. */
const live = (stream) => (stream?.getAudioTracks().some((track) => track.readyState === 'live') ? stream : null);
