// Whether the screen can be shared, and whether there is anything on it.

import { unless, within } from './time.js';

const WATCH_MS = 1_500;
const STEP_MS = 150;
/** Of white: a screen that is darker than this everywhere was not let through. */
const BLACK = 0.03;

/**
 * Lets the person choose a screen and looks at it for a moment. Has to be called from a click.
 * @param {AbortSignal} signal
 * @returns {Promise<'shared'|'black'|'cancelled'|'denied'|'system'|'policy'|'unsupported'|'failed'>}
 */
export async function share(signal) {
  if (!navigator.mediaDevices?.getDisplayMedia) return 'unsupported';
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  if (policy && !policy.allowsFeature('display-capture')) return 'policy';
  const asked = performance.now();
  let stream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({ video: true });
  } catch (error) {
    return await why(error, performance.now() - asked);
  }
  try {
    return await look(stream, signal);
  } catch {
    return 'failed';
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

/** Browsers say the same of a closed question and of a ban; who is banned was not even asked. */
async function why(error, after_ms) {
  const text = String(error?.message ?? '');
  if (/by system/i.test(text)) return 'system';
  if (error?.name === 'NotAllowedError') {
    const banned = /policy|user agent|platform/i.test(text) || after_ms < 50;
    return banned ? 'denied' : 'cancelled';
  }
  if (error?.name === 'AbortError' || error?.name === 'InvalidStateError') return 'cancelled';
  return error?.name === 'NotFoundError' || error?.name === 'NotReadableError' ? 'system' : 'failed';
}

async function look(stream, signal) {
  const video = Object.assign(document.createElement('video'), { muted: true, srcObject: stream });
  await within(video.play(), 3_000);
  const context = Object.assign(document.createElement('canvas'), { width: 64, height: 36 }).getContext('2d', { willReadFrequently: true });
  for (let waited = 0; waited < WATCH_MS && !signal.aborted; waited += STEP_MS) {
    await new Promise((resolve) => { setTimeout(resolve, STEP_MS); });
    if (video.readyState < 2) continue;
    context.drawImage(video, 0, 0, 64, 36);
    const pixels = context.getImageData(0, 0, 64, 36).data;
    for (let i = 0; i < pixels.length; i += 4) {
      if ((0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2]) / 255 > BLACK) return 'shared';
    }
  }
  return 'black';
}

/** Asks for a screen, and tells how that stands; what came of it. */
export async function ask({ answer, signal, tell }) {
  tell({ step: 'screen', state: 'asking', code: 'share' });
  const go = () => {
    tell({ step: 'screen', state: 'running', code: 'watching' });
    return share(signal);
  };
  const outcome = await unless(Promise.resolve(answer ? answer({ question: 'screen', share: go }) : go()), signal);
  tell({ step: 'screen', state: { shared: 'good', skipped: 'done', cancelled: 'done' }[outcome] ?? 'bad', code: outcome });
  return outcome;
}
