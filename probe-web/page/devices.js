// Opening cameras and microphones, and why one does not open.

import { within } from './time.js';

/** How long a device may take to start once it may be used. */
const START_MS = 10_000;
/** How long a person may think about the browser's question. */
const ANSWER_MS = 120_000;

/**
 * @typedef {'denied'|'dismissed'|'system'|'insecure'|'policy'|'in_use'|'not_found'|'overconstrained'|'timeout'|'ended'|'unknown'} Failure
 * @typedef {{ stream: MediaStream, first_ms: number }} Opened
 */

/** What is asked of each kind. The microphone's processing is off: with it on, clipping and noise cannot be seen. */
const WANTED = {
  camera: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
  microphone: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: { ideal: 2 } },
};

/**
 * Opens what is wanted with one question; where that fails, each by itself, so that one missing device does not hide the other.
 * @param {{ camera?: string, microphone?: string }} chosen ids
 * @param {string[]} kinds
 * @returns {Promise<{camera: Opened|Failure|null, microphone: Opened|Failure|null}>}
 */
export async function openAll(chosen, kinds) {
  const wanted = ['camera', 'microphone'].filter((kind) => kinds.includes(kind));
  const opened = { camera: null, microphone: null };
  if (wanted.length === 2 && wanted.every((kind) => !barrier(kind))) {
    const both = await get({ video: constraints('camera', chosen.camera), audio: constraints('microphone', chosen.microphone) });
    if (typeof both !== 'string') {
      const apart = (tracks) => ({ stream: new MediaStream(tracks), first_ms: both.first_ms });
      return { camera: apart(both.stream.getVideoTracks()), microphone: apart(both.stream.getAudioTracks()) };
    }
    // Who closed or denied the one question is not asked twice more.
    if (both === 'dismissed') return { camera: both, microphone: both };
  }
  for (const kind of wanted) opened[kind] = await open(kind, chosen[kind]);
  return opened;
}

/** Whether the page may use a device without asking: `granted`, `prompt`, `denied`, or `null` where the browser does not tell. */
export async function permission(kind) {
  try {
    return (await within(navigator.permissions.query({ name: kind }), 1_000)).state;
  } catch {
    return null;
  }
}

/**
 * Opens one device.
 * @param {'camera'|'microphone'} kind
 * @param {string} [id]
 * @param {MediaTrackConstraints} [wanted] other than for a check
 * @returns {Promise<Opened|Failure>}
 */
export async function open(kind, id, wanted) {
  const barred = barrier(kind);
  if (barred) return barred;
  const media = constraints(kind, id, wanted);
  return get(kind === 'camera' ? { video: media } : { audio: media });
}

function constraints(kind, id, wanted = WANTED[kind]) {
  return id ? { ...wanted, deviceId: { exact: id } } : wanted;
}

/** What keeps the browser from even asking. */
function barrier(kind) {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) return 'insecure';
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  return policy && !policy.allowsFeature(kind) ? 'policy' : null;
}

async function get(media) {
  const asked = performance.now();
  // What comes after the time is up must not stay switched on.
  const got = navigator.mediaDevices.getUserMedia(media);
  try {
    const stream = await within(got, ANSWER_MS + START_MS);
    return { stream, first_ms: performance.now() - asked };
  } catch (error) {
    got.then(stop, () => {});
    return nameOf(error);
  }
}

/** @returns {Failure} */
export function nameOf(error) {
  const text = String(error?.message ?? '');
  switch (error?.name) {
    case 'NotAllowedError':
      if (/by system/i.test(text)) return 'system';
      return /dismiss/i.test(text) ? 'dismissed' : 'denied';
    case 'SecurityError': return 'policy';
    case 'NotReadableError':
    case 'AbortError':
    case 'TrackStartError': return 'in_use';
    case 'NotFoundError':
    case 'DevicesNotFoundError': return 'not_found';
    case 'OverconstrainedError': return 'overconstrained';
    case 'TimeoutError': return 'timeout';
    default: return 'unknown';
  }
}

/** @param {MediaStream} stream */
export function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** The devices of a kind that the browser names. */
export async function list(kind) {
  const type = { camera: 'videoinput', microphone: 'audioinput', speaker: 'audiooutput' }[kind];
  try {
    const all = await within(navigator.mediaDevices.enumerateDevices(), 3_000);
    return all.filter((device) => device.kind === type && device.deviceId !== '');
  } catch {
    return [];
  }
}

/** Whether this browser lets a page choose the speaker. */
export const canChoose = () => 'AudioContext' in window && 'setSinkId' in AudioContext.prototype;
