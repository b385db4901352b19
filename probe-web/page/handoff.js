// What an application starts its call with. Loaded once there is a result.

import { bars, linesOf } from './strength.js';

const START = { 360: [640, 360, 600_000], 720: [1280, 720, 1_700_000], 1080: [1920, 1080, 3_000_000] };

/**
 * @param {object} report
 * @param {{ wanted: string, chosen: object, camera: object|null, machine: object|null, limits: object }} found
 */
export function handoff(report, { wanted, chosen, camera, machine, limits }) {
  const audio = report.verdict.uses.audio?.state;
  const { overall } = report.verdict;
  return {
    verdict: overall,
    may_join: works(overall) || (overall === 'blocked' && works(audio)),
    strength: strength(report, limits),
    devices: { camera: chosen.camera ?? null, microphone: chosen.microphone ?? null, speaker: chosen.speaker ?? null },
    start: { audio: audio !== 'blocked', video: video(wanted, { overall, camera, machine, least: limits.encode_times_real_time }) },
    id: report.id,
    code: report.code,
  };
}

/** A call without a picture is one, too. */
const works = (state) => state === 'ready' || state === 'degraded';

/** From 0 to 4, by the limits that the server judges by; `null` where it was not measured. */
export function strength(report, limits) {
  const target = report.targets[0];
  const rtt = target?.rtt_ms?.p50;
  if (typeof rtt !== 'number') return null;
  const lost = ['up', 'down'].map((way) => target[way]?.loss_ratio?.value).filter((value) => typeof value === 'number');
  return bars(rtt, lost.length ? Math.max(...lost) : 0, limits.connection);
}

/** The largest size that was wanted, that the camera gives and that this computer encodes in time; `null` for none. */
function video(wanted, { overall, camera, machine, least }) {
  if (!camera?.given || camera.failure || overall === 'blocked') return null;
  const most = overall === 'degraded' ? Math.min(360, linesOf(wanted)) : linesOf(wanted);
  const gave = (camera.sizes ?? []).filter((size) => size.given && (size.given.height ?? 0) >= size.lines).map((size) => size.lines);
  const tall = Math.max(camera.given.height, ...gave);
  const slow = (machine?.encode ?? []).filter((run) => run.times_real_time < least).map((run) => run.lines);
  const fits = [1080, 720, 360].find((lines) => lines <= most && (lines <= tall || lines === 360) && !slow.includes(lines));
  if (!fits) return null;
  const [width, height, bitrate_bps] = START[fits];
  return { width, height, fps: 30, bitrate_bps };
}

/** Tells the page around this one, if it is of a site that the server's operator named. */
export function tell(origin, embedders, detail) {
  if (!origin || window.parent === window || !embedders.includes(origin)) return;
  window.parent.postMessage({ type: 'greenroom-check', ...detail }, origin);
}
