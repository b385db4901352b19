// What a call's statistics say. Pure: statistics and times are arguments, and nothing is kept but in what is handed back.
//
// The counters of `getStats` run since the call began, begin anew with every stream, may be missing in one browser or another, and one of
// them (`packetsLost`) runs backward when a packet that was given up comes after all. So everything here is a difference of one look and
// the next, and what is not known is `null`, never 0.

/** Counters that only grow while their stream goes on: one that is smaller belongs to a new one. */
const LEADING = ['packetsReceived', 'packetsSent', 'bytesReceived', 'bytesSent', 'framesDecoded', 'framesEncoded', 'totalSamplesReceived', 'totalSamplesDuration', 'responsesReceived'];
const KEPT = ['inbound-rtp', 'outbound-rtp', 'remote-inbound-rtp', 'media-source'];

/** Of a stream that begins, so long delay, concealment and frame rate are not judged: buffers and encoders are finding their size. */
const WARM_MS = 3_000;
/** So long an encoder's size is not judged: the estimate of the rate begins low, and climbs. */
const RAMP_MS = 10_000;
/** A report of the other side that says what the last one said may be the last one. A new one comes at least so often (RFC 3550 §6.2). */
const REPORT_MS = 6_000;
/** What is judged over several looks together. */
const WINDOW_MS = 10_000;
/** Digital silence in reports: JSON has no infinity. */
const SILENCE_DBFS = -150;
/** Below the smallest step of 16 bits, twice: no room is as quiet. */
const DEAD_DBFS = -85;
/** Below so many pictures a second, movement is seen to jerk. */
const LIVE_FPS = 12;
const LEAST_LOST = 5;
/** What else it is judged by than the reasons' limits: it stands in the report. */
export const SETTINGS = { warm_ms: WARM_MS, ramp_ms: RAMP_MS, window_ms: WINDOW_MS, least_lost: LEAST_LOST, dead_dbfs: DEAD_DBFS };

const known = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : null);
const plus = (sum, value) => (value === null ? sum : (sum ?? 0) + value);
const times = (value, factor) => (value === null ? null : value * factor);
const most = (values) => values.reduce((greatest, value) => (value === null || value <= (greatest ?? -Infinity) ? greatest : value), null);
/** A share; a counter that ran backward is none. */
const share = (part, whole) => (part === null || !(whole > 0) ? null : Math.max(0, part) / whole);
const kindOf = (row) => row.kind ?? row.mediaType;
export const dbfs = (squares) => (squares === null ? null : Math.max(SILENCE_DBFS, 10 * Math.log10(Math.max(squares, 1e-15))));

/**
 * One look: the rows that count, under names that a new stream, a new track and a new path have of their own.
 * @param {Iterable<object>} stats the dictionaries of an `RTCStatsReport`
 * @param {number} at_ms by a clock that does not step
 * @param {object} [seen] what stands beside the statistics: `connection`, `hidden`, `stalled_ms`, `microphone`, `wants_audio`, `cap_bps`, `buffer_target_ms`
 */
export function read(stats, at_ms, seen = {}) {
  const all = [...stats].filter((row) => typeof row?.id === 'string');
  const of = new Map(all.map((row) => [row.id, row]));
  const rows = new Map();
  for (const row of all) if (KEPT.includes(row.type)) rows.set([row.type, row.id, row.ssrc, row.type === 'media-source' ? row.trackIdentifier : ''].join(' '), row);
  const pair = selected(all, of);
  if (pair) rows.set(`candidate-pair ${pair.id}`, pair);
  const [local, remote] = [of.get(pair?.localCandidateId), of.get(pair?.remoteCandidateId)];
  const path = pair && {
    id: pair.id, local: local?.candidateType ?? null, remote: remote?.candidateType ?? null,
    protocol: local?.protocol ?? null, relay_protocol: local?.relayProtocol ?? null,
  };
  return { at_ms, rows, path: path ?? null, ...seen };
}

/** The pair that carries the call; Firefox marks it, the others name it in the transport. */
function selected(all, of) {
  const pairs = all.filter((row) => row.type === 'candidate-pair');
  const named = all.filter((row) => row.type === 'transport').map((row) => of.get(row.selectedCandidatePairId));
  const marked = pairs.filter((row) => row.selected || (row.nominated && row.state === 'succeeded'));
  return [...named, ...marked].find(Boolean) ?? null;
}

/** What a call is judged from before it was looked at. */
export const fresh = () => ({ began_ms: null, before: null, first: new Map(), heard: new Map(), best: new Map(), rates: [], silent: {}, audio_ms: null, calm: true, window: [], reasons: new Map() });

/**
 * From one look to the next: figures of the interval, and reasons that begin and end.
 * @param {object} state of `fresh()`, or of the look before
 * @param {object} now of `read()`
 * @returns {{ state: object, figures: object | null, events: object[] }}
 */
export function step(state, now, rules = RULES) {
  const { before } = state;
  const next = { ...state, before: now, began_ms: state.began_ms ?? now.at_ms, first: new Map(), heard: new Map(), best: new Map(), reasons: new Map(state.reasons) };
  for (const key of now.rows.keys()) next.first.set(key, state.first.get(key) ?? now.at_ms);
  if (!before || now.at_ms <= before.at_ms) return { state: next, figures: null, events: [] };
  const disturbed = disturbance(now);
  const at = { state, next, now, disturbed: disturbed !== null, calm: disturbed === null && state.calm, span_ms: now.at_ms - before.at_ms };
  const moved = [...now.rows].map(([key, row]) => movement(key, row, at)).filter(Boolean);
  const figures = {
    at_ms: now.at_ms, interval_ms: at.span_ms, disturbed, connection: now.connection ?? null,
    path: along(moved, now), down: { audio: heardFrom(moved, at), video: seenFrom(moved, at) },
    up: { audio: sent('audio', moved, at), video: shown(moved, at) }, microphone: microphone(moved, at),
    since_audio_ms: waiting(moved, at), hidden: now.hidden ?? false, stalled_ms: now.stalled_ms ?? 0,
  };
  next.rates = [...state.rates, { at_ms: now.at_ms, bps: figures.path?.available_up_bps ?? null }].filter(({ at_ms }) => now.at_ms - at_ms <= RAMP_MS);
  next.calm = disturbed === null;
  // What was held up comes late, and late once more in the interval after: neither is judged.
  const kept = at.calm ? [...state.window, { at_ms: now.at_ms, ms: at.span_ms, figures }] : state.window;
  next.window = kept.filter(({ at_ms }) => now.at_ms - at_ms < WINDOW_MS);
  const events = judge(next, { figures, calm: at.calm, sums: together(next.window) }, before, now, rules);
  return { state: next, figures, events };
}

/** What makes a look of no use for judging the network: neither is the network's fault. */
const disturbance = ({ hidden, stalled_ms }) => (hidden ? 'hidden' : (stalled_ms ?? 0) >= 500 ? 'stalled' : null);

/** How far a row's counters came. `null` for one that is new, that began anew, or that does not move. */
function movement(key, row, at) {
  const before = at.state.before.rows.get(key);
  if (!before) return null;
  const by = (name) => { const [to, from] = [known(row[name]), known(before[name])]; return to === null || from === null ? null : to - from; };
  if (LEADING.some((name) => by(name) < 0)) {
    at.next.first.set(key, at.now.at_ms);
    return null;
  }
  // By the statistics' own clock, which a late timer does not hold up; a step of it is none.
  const by_clock = by('timestamp');
  const ms = by_clock > at.span_ms / 2 && by_clock < at.span_ms * 2 ? by_clock : at.span_ms;
  return { key, row, before, by, ms, age_ms: at.now.at_ms - at.state.first.get(key) };
}

const of = (moved, type, kind) => moved.filter(({ row }) => row.type === type && (kind === undefined || kindOf(row) === kind));
const sum = (some, name) => some.reduce((all, { by }) => plus(all, by(name)), null);
const rate = (some, name, unit) => some.reduce((all, { by, ms }) => plus(all, times(by(name), unit / ms)), null);

function along(moved, now) {
  if (!now.path) return null;
  const [pair] = of(moved, 'candidate-pair');
  const answers = pair?.by('responsesReceived');
  // Where the browser does not add them up, the last one, once.
  const rtt = answers > 0 ? share(pair.by('totalRoundTripTime'), answers) ?? known(pair.row.currentRoundTripTime) : null;
  return { ...now.path, rtt_ms: times(rtt, 1_000), available_up_bps: known(pair?.row.availableOutgoingBitrate) };
}

/** What every stream that comes has: packets, and those that did not. */
function arrived(some) {
  const [packets, lost] = [sum(some, 'packetsReceived'), sum(some, 'packetsLost')];
  return { packets, lost, loss_ratio: share(lost, packets + lost), bps: rate(some, 'bytesReceived', 8_000) };
}

function heardFrom(moved, at) {
  const some = of(moved, 'inbound-rtp', 'audio');
  if (some.length === 0) return null;
  const warm = some.filter(({ age_ms, by }) => age_ms >= WARM_MS && by('packetsReceived') > 0);
  // Silence that stands for silence is no trouble: without the count of it, the other one tells nothing.
  const concealed = warm.reduce((all, { by }) => { const quiet = by('silentConcealedSamples'); return plus(all, quiet === null ? null : by('concealedSamples') - quiet); }, null);
  const buffers = warm.map(({ by }) => times(share(by('jitterBufferDelay'), by('jitterBufferEmittedCount')), 1_000));
  const samples = sum(warm, 'totalSamplesReceived');
  return {
    ...arrived(some), jitter_rfc3550_ms: times(most(some.map(({ row }) => known(row.jitter))), 1_000), buffer_ms: most(buffers), buffer_target_ms: at.now.buffer_target_ms ?? 0,
    samples, concealed, concealed_ratio: share(concealed, samples), late: sum(some, 'packetsDiscarded'),
    level_dbfs: dbfs(most(some.map(({ by }) => share(by('totalAudioEnergy'), by('totalSamplesDuration'))))),
  };
}

function seenFrom(moved, at) {
  const some = of(moved, 'inbound-rtp', 'video');
  if (some.length === 0) return null;
  let frozen_ms = null;
  let slow = null;
  for (const { key, row, by, ms, age_ms } of some) {
    const fps = times(by('framesDecoded'), 1_000 / ms);
    const best = Math.max(at.state.best.get(key) ?? 0, fps ?? 0);
    at.next.best.set(key, best);
    if (age_ms < WARM_MS || fps === null) continue;
    // A freeze counts when it is over. One that goes on: packets come, and no picture; without packets it was switched off.
    const still = fps === 0 && best > 1 && by('packetsReceived') > 0 ? ms : 0;
    frozen_ms = Math.max(frozen_ms ?? 0, Math.min(ms, times(by('totalFreezesDuration'), 1_000) ?? 0), still);
    // A screen that stands still has few pictures from the beginning: only who had more of them has too few.
    if (row.contentType !== 'screenshare' && fps > 0 && best >= 2 * fps && fps < LIVE_FPS) slow = Math.min(slow ?? fps, fps);
  }
  const tall = some.reduce((tallest, one) => ((one.row.frameHeight ?? 0) > (tallest.row.frameHeight ?? 0) ? one : tallest));
  return { ...arrived(some), fps: times(tall.by('framesDecoded'), 1_000 / tall.ms), slow_fps: slow, height: known(tall.row.frameHeight), frozen_ms, dropped: sum(some, 'framesDropped') };
}

/** What goes out, and what the other side says of it: it says so every few seconds, and until then nothing. */
function sent(kind, moved, at) {
  const some = of(moved, 'outbound-rtp', kind);
  if (some.length === 0) return null;
  let [lost, reported, rtt, jitter] = [null, null, null, null];
  for (const [key, row] of at.now.rows) {
    if (row.type !== 'remote-inbound-rtp' || kindOf(row) !== kind) continue;
    const [, out] = [...at.now.rows].find(([, one]) => one.type === 'outbound-rtp' && (one.id === row.localId || one.ssrc === row.ssrc)) ?? [];
    const last = at.state.heard.get(key);
    const mark = {
      at_ms: at.now.at_ms, stamp: row.timestamp, said: [row.packetsLost, row.jitter, row.roundTripTimeMeasurements].join(), spoiled: at.disturbed,
      lost: known(row.packetsLost), sent: known(out?.packetsSent), rtts: known(row.roundTripTimeMeasurements), total: known(row.totalRoundTripTime),
    };
    const is_new = last && last.stamp !== mark.stamp && (last.said !== mark.said || mark.at_ms - last.at_ms >= REPORT_MS);
    if (last && !is_new) {
      at.next.heard.set(key, { ...last, spoiled: last.spoiled || at.disturbed });
      continue;
    }
    at.next.heard.set(key, mark);
    const whole = last && [mark.sent, last.sent, mark.lost, last.lost].every((value) => value !== null) && mark.sent > last.sent;
    if (!whole || last.spoiled || at.disturbed) continue;
    lost = plus(lost, mark.lost - last.lost);
    reported = plus(reported, mark.sent - last.sent);
    jitter = most([jitter, known(row.jitter)]);
    const answers = mark.rtts === null ? null : mark.rtts - last.rtts;
    rtt = most([rtt, answers > 0 ? share(mark.total - last.total, answers) : answers === null ? known(row.roundTripTime) : null]);
  }
  return { packets: sum(some, 'packetsSent'), reported, lost, loss_ratio: share(lost, reported), bps: rate(some, 'bytesSent', 8_000), jitter_rfc3550_ms: times(jitter, 1_000), rtt_ms: times(rtt, 1_000) };
}

function shown(moved, at) {
  const base = sent('video', moved, at);
  const some = of(moved, 'outbound-rtp', 'video').filter(({ row }) => row.active !== false);
  if (!base || some.length === 0) return base;
  const tall = some.reduce((tallest, one) => ((one.row.frameHeight ?? 0) > (tallest.row.frameHeight ?? 0) ? one : tallest));
  const fps = times(tall.by('framesSent') ?? tall.by('framesEncoded'), 1_000 / tall.ms);
  const source = of(moved, 'media-source', 'video').find(({ row }) => row.id === tall.row.mediaSourceId);
  const from = source ? times(source.by('frames'), 1_000 / source.ms) ?? known(source.row.framesPerSecond) : null;
  const [cpu, bandwidth] = ['cpu', 'bandwidth'].map((why) => most(some.map((one) => limited(one, why))));
  const target = some.reduce((all, { row }) => plus(all, known(row.targetBitrate)), null);
  const available = at.now.path && known(of(moved, 'candidate-pair')[0]?.row.availableOutgoingBitrate);
  const ramps = tall.age_ms < RAMP_MS || at.state.rates.some(({ at_ms, bps }) => at.now.at_ms - at_ms >= 4_000 && bps !== null && available > bps * 1.05);
  // What the browser calls bandwidth may be its own caution: with room for a third more it is not the path's.
  const roomy = target !== null && available > target * 1.3;
  const capped = target !== null && at.now.cap_bps > 0 && target >= at.now.cap_bps * 0.8;
  return {
    ...base, fps, source_fps: from, height: known(tall.row.frameHeight), target_bps: target, slow_fps: tall.age_ms >= WARM_MS && fps > 0 && from >= 2 * fps && fps < LIVE_FPS ? fps : null,
    cpu_ratio: tall.age_ms < WARM_MS ? null : cpu, bandwidth_ratio: ramps || bandwidth === null ? null : roomy || capped ? 0 : bandwidth, capped_ratio: tall.age_ms < WARM_MS || bandwidth === null ? null : capped ? bandwidth : 0,
    encode_ms: times(share(tall.by('totalEncodeTime'), tall.by('framesEncoded')), 1_000),
  };
}

/** The share of the interval in which the encoder was held down by something: what it is at the moment of the look says little. */
function limited({ row, before, ms }, why) {
  const [to, from] = [row, before].map((one) => known(one.qualityLimitationDurations?.[why]));
  if (to !== null && from !== null) return Math.min(1, Math.max(0, to - from) * 1_000 / ms);
  return row.qualityLimitationReason ? Number(row.qualityLimitationReason === why) : null;
}

function microphone(moved, at) {
  const told = at.now.microphone;
  if (!told) return null;
  const some = of(moved, 'media-source', 'audio');
  const squares = told.sound ? told.sound.squares : most(some.map(({ by }) => share(by('totalAudioEnergy'), by('totalSamplesDuration'))));
  // A source that hands out nothing at all is as silent as one of zeros.
  const nothing = squares === null && some.some(({ by }) => by('totalSamplesDuration') === 0);
  const level_dbfs = dbfs(nothing ? 0 : squares);
  const was = at.state.silent.id === told.id ? at.state.silent : { id: told.id, ms: 0, heard: false };
  const silent = level_dbfs !== null && level_dbfs < DEAD_DBFS && !told.muted;
  at.next.silent = { id: told.id, ms: silent ? was.ms + at.span_ms : level_dbfs === null ? was.ms : 0, heard: was.heard || level_dbfs >= DEAD_DBFS && level_dbfs !== null };
  const peak = most(some.map(({ row }) => known(row.audioLevel)));
  return {
    level_dbfs, muted: told.muted ?? null, silent_ms: at.next.silent.ms, heard: at.next.silent.heard,
    // With the samples their share; without, whether the level stood at the rail.
    samples: told.sound ? told.sound.samples : peak === null ? null : 1, clipped: told.sound ? told.sound.clipped : peak === null ? null : Number(peak >= 0.99), by_samples: Boolean(told.sound),
  };
}

/** How long no sound has come, where some is to come. */
function waiting(moved, at) {
  const came = of(moved, 'inbound-rtp', 'audio').some(({ by }) => by('packetsReceived') > 0);
  const waits = at.now.wants_audio && at.now.connection === 'connected';
  at.next.audio_ms = came || !waits ? null : at.state.audio_ms ?? at.state.before.at_ms;
  return waits ? (came ? 0 : at.now.at_ms - at.next.audio_ms) : null;
}

/** The window's looks together. */
function together(window) {
  const all = (get) => window.reduce((total, { figures }) => plus(total, get(figures) ?? null), null);
  const way = (name, whole) => most(['audio', 'video'].map((kind) => {
    const [lost, packets] = [all((f) => f[name][kind]?.lost), all((f) => f[name][kind]?.[whole])];
    const n = whole === 'packets' ? packets + Math.max(0, lost ?? 0) : packets;
    const ratio = n >= 100 ? share(lost, n) : null;
    // A handful is what chance makes of much less.
    return lost >= LEAST_LOST || ratio < 0.02 ? ratio : null;
  }));
  const [samples, concealed] = [all((f) => f.down.audio?.samples), all((f) => f.down.audio?.concealed)];
  const [frozen, ms] = [all((f) => f.down.video?.frozen_ms), window.reduce((total, one) => total + one.ms, 0)];
  const [heard, clipped] = [all((f) => f.microphone?.samples), all((f) => f.microphone?.clipped)];
  const exact = window.at(-1)?.figures.microphone?.by_samples;
  return {
    loss_up: way('up', 'reported'), loss_down: way('down', 'packets'), concealed: samples >= 96_000 ? share(concealed, samples) : null, frozen: ms >= 2_000 ? share(frozen, ms) : null,
    clipped: exact ? share(clipped, heard) : heard >= 5 ? share(clipped, heard) * 0.01 : null,
  };
}

const flag = (value) => (value === null || value === undefined ? null : Number(value));
const slower = (part) => (!part ? null : part.slow_fps === null ? (part.fps > 0 ? 1e3 : null) : part.slow_fps);

/** A reason: where it is, which way, by what, and when it begins and ends: figures, and for how long they have to stand. */
const rule = (code, place, direction, unit, value, begins = 0.5, ends = begins, begins_ms = 0, ends_ms = 0, more = {}) => ({ code, place, direction, unit, value, begins, ends, begins_ms, ends_ms, ...more });
/** Judged while the page is held up, too. */
const APART = { apart: true };
const LESS = { less: true };

/** `value` gets the figures of the interval and the window's sums. */
export const RULES = [
  rule('loss_up', 'path', 'up', 'ratio', (f, w) => w.loss_up, 0.02, 0.01, 0, 4_000),
  rule('loss_down', 'path', 'down', 'ratio', (f, w) => w.loss_down, 0.02, 0.01, 0, 4_000),
  rule('late_loss_down', 'path', 'down', 'ratio', (f, w) => (w.loss_down > 0.02 ? null : w.concealed), 0.03, 0.01, 0, 4_000),
  rule('buffer_delay_down', 'path', 'down', 'ms', ({ down: { audio } }) => ((audio?.buffer_ms ?? null) === null ? null : Math.max(0, audio.buffer_ms - audio.buffer_target_ms)), 200, 150, 4_000, 6_000),
  rule('rtt_high', 'path', 'both', 'ms', (f) => f.path?.rtt_ms ?? f.up.audio?.rtt_ms, 250, 200, 4_000, 6_000),
  rule('connection_lost', 'path', 'both', null, (f) => flag(f.connection && ['disconnected', 'failed'].includes(f.connection))),
  rule('bandwidth_limited', 'path', 'up', 'ratio', (f) => f.up.video?.bandwidth_ratio, 0.5, 0.2, 4_000, 6_000),
  rule('bitrate_capped', 'join', 'up', 'ratio', (f) => f.up.video?.capped_ratio, 0.5, 0.2, 4_000, 6_000),
  rule('cpu_limited', 'computer', 'up', 'ratio', (f) => f.up.video?.cpu_ratio, 0.5, 0.2, 4_000, 6_000),
  rule('video_frozen', 'unknown', 'down', 'ratio', (f, w) => w.frozen, 0.05, 0.02, 0, 4_000),
  rule('frame_rate_low_down', 'unknown', 'down', 'fps', (f) => slower(f.down.video), LIVE_FPS, LIVE_FPS, 4_000, 4_000, LESS),
  rule('frame_rate_low_up', 'computer', 'up', 'fps', (f) => slower(f.up.video), LIVE_FPS, LIVE_FPS, 4_000, 4_000, LESS),
  rule('audio_not_received', 'unknown', 'down', 'ms', (f) => f.since_audio_ms, 5_000),
  rule('relayed', 'relay', 'both', null, ({ path }) => flag(path?.local && [path.local, path.remote].includes('relay'))),
  rule('mic_muted_in_software', 'device', 'up', null, ({ microphone }) => flag(microphone && microphone.muted !== null), 0.5, 0.5, 0, 0, APART),
  // A headset may gate what it hears: one that was heard before is given longer.
  rule('mic_muted_in_hardware', 'device', 'up', 'ms', ({ microphone }) => microphone && (microphone.heard && microphone.silent_ms < 30_000 ? 0 : microphone.silent_ms), 5_000, 5_000, 0, 0, APART),
  rule('mic_clipping', 'device', 'up', 'ratio', (f, w) => w.clipped, 0.005, 0.001, 0, 4_000, APART),
  rule('page_hidden', 'computer', null, null, (f) => flag(f.hidden), 0.5, 0.5, 0, 0, APART),
  rule('page_stalled', 'computer', null, 'ms', (f) => (f.hidden ? null : f.stalled_ms), 500, 250, 0, 0, APART),
];

/** What begins and what ends. A reason without a figure goes on as it is. */
function judge(next, { figures, calm, sums }, before, now, rules) {
  const events = [];
  for (const rule of rules) {
    const value = calm || rule.apart ? rule.value(figures, sums) ?? null : null;
    if (value === null) continue;
    const worse = (one, other) => (rule.less ? one < other : one > other);
    const [bad, good] = [rule.less ? value < rule.begins : value >= rule.begins && value > 0, rule.less ? value >= rule.ends : value < rule.ends];
    const was = next.reasons.get(rule.code) ?? { from_ms: null, on: false, well_ms: null, worst: null };
    const is = { ...was };
    if (!was.on) {
      is.from_ms = bad ? was.from_ms ?? before.at_ms : null;
      is.worst = bad ? (was.worst === null || worse(value, was.worst) ? value : was.worst) : null;
      is.on = bad && now.at_ms - is.from_ms >= rule.begins_ms;
      if (is.on) events.push({ type: 'begin', code: rule.code, place: rule.place, direction: rule.direction, at_ms: is.from_ms, value: is.worst, unit: rule.unit });
    } else {
      if (worse(value, was.worst)) is.worst = value;
      is.well_ms = good ? was.well_ms ?? now.at_ms : null;
      if (is.well_ms !== null && now.at_ms - is.well_ms >= rule.ends_ms) {
        events.push(over(rule, is, is.well_ms));
        Object.assign(is, { on: false, from_ms: null, well_ms: null, worst: null });
      }
    }
    next.reasons.set(rule.code, is);
  }
  const [from, to] = [before.path, now.path];
  if (from && to && !isOne(from, to) && now.at_ms - next.began_ms >= 5_000) {
    const code = 'path_changed';
    const about = { code, place: 'unknown', direction: 'both', at_ms: now.at_ms, value: null, unit: null, from, to };
    events.push({ type: 'begin', ...about }, { type: 'end', ...about, lasted_ms: 0, worst: null });
  }
  return events;
}

/** Whether both are one path: a peer that was seen before it was told of gets its name later (RFC 8445 section 7.2.5.3.1), and a new pair. */
const isOne = (from, to) => from.id === to.id || (from.remote === 'prflx' && to.remote !== 'relay' && from.local === to.local && from.protocol === to.protocol);

const over = ({ code, place, direction, unit }, { from_ms, worst }, at_ms) => ({ type: 'end', code, place, direction, at_ms: from_ms, lasted_ms: Math.max(0, at_ms - from_ms), worst, unit });

/** Ends what goes on, at the end of the call. */
export const close = (state, at_ms, rules = RULES) => rules.filter(({ code }) => state.reasons.get(code)?.on).map((rule) => over(rule, state.reasons.get(rule.code), at_ms));
