// What an application starts its call with. Loaded once there is a result.

import { bars, linesOf } from './strength.js';

export { keepReport } from './memory.js';

const START = { 360: [640, 360, 600_000], 720: [1280, 720, 1_700_000], 1080: [1920, 1080, 3_000_000] };

/**
 * @param {object} report
 * @param {{ wanted: string, chosen: object, camera: object|null, machine: object|null, limits: object }} found
 */
export function handoff(report, { wanted, chosen, camera, machine, limits }) {
  const audio = report.verdict.uses.audio?.state;
  const { overall } = report.verdict;
  const least = limits.encode_times_real_time;
  return {
    verdict: overall,
    may_join: works(overall) || (overall === 'blocked' && works(audio)),
    strength: strength(report, limits),
    devices: { camera: chosen.camera ?? null, microphone: chosen.microphone ?? null, speaker: chosen.speaker ?? null },
    start: { audio: audio !== 'blocked', video: video(wanted, { overall, limited: isLimited(report.verdict), camera, machine, least }), effects: effects(machine, least) },
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

/** Whether less is to be begun with: by what a file of the application that did not load says nothing of. */
const isLimited = ({ overall, causes }) => overall === 'degraded' && causes.some(({ state, code }) => state === 'degraded' && code !== 'application_file_fails');

/** The largest size that was wanted, that the camera gives and that this computer encodes in time; `null` for none. */
function video(wanted, { overall, limited, camera, machine, least }) {
  if (!camera?.given || camera.failure || overall === 'blocked') return null;
  const most = limited ? Math.min(360, linesOf(wanted)) : linesOf(wanted);
  const gave = (camera.sizes ?? []).filter((size) => size.given && (size.given.height ?? 0) >= size.lines).map((size) => size.lines);
  const tall = Math.max(camera.given.height, ...gave);
  const slow = (machine?.encode ?? []).filter((run) => run.times_real_time < least).map((run) => run.lines);
  const fits = [1080, 720, 360].find((lines) => lines <= most && (lines <= tall || lines === 360) && !slow.includes(lines));
  if (!fits) return null;
  const [width, height, bitrate_bps] = START[fits];
  return { width, height, fps: 30, bitrate_bps };
}

/** Whether this computer encodes the picture and changes its background in time, one after the other; `null` where that was not measured. */
function effects(machine, least) {
  const { lines, times_real_time } = machine?.effects ?? {};
  const encode = machine?.encode.find((run) => run.lines === lines)?.times_real_time;
  if (!times_real_time || !encode) return null;
  return 1 / times_real_time + 1 / encode <= 1 / least;
}

/** The rest of the application's own files. */
export const warm = (assets, enough) => import('./warm-up.js').then(({ finish }) => finish(assets, enough)).catch(() => []);

/** Tells the page around this one, if it is of a site that the server's operator named. */
export function tell(origin, embedders, detail) {
  if (!origin || window.parent === window || !embedders.includes(origin)) return;
  window.parent.postMessage({ type: 'greenroom-check', ...detail }, origin);
}
