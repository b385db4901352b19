// A call's figures added up, and the report that is made of them: `greenroom.report/1` of kind `monitor`, as every other report is read.

import { fill } from './language.js';
import { RULES, SETTINGS } from './monitor-figures.js';
import { reasons } from './monitor-words.js';

const VERSION = '0.1.0';
/** So many points of a plot are kept; then two become one. */
const POINTS = 600;
/** So many reasons are told one by one. */
const TOLD = 200;
/** So much undisturbed time a judgment takes. */
const LEAST_JUDGED_MS = 10_000;
/** A reason that was there for less, and for a smaller share, is a note. */
const BRIEF_MS = 10_000;
const BRIEF_RATIO = 0.02;
/** What is so by somebody's choice, or may be: told, and never held against the call. */
const NOTES = ['relayed', 'path_changed', 'mic_muted_in_software', 'page_hidden', 'page_stalled', 'audio_not_received'];
const LETTERS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** Sums of a call's undisturbed looks. */
export class Tally {
  ms = { judged: 0, hidden: 0, stalled: 0 };
  sums = new Map();
  rtts = [];
  jitters = [];
  points = [];
  last = null;

  add(figures) {
    const { disturbed, interval_ms } = figures;
    this.ms[disturbed ?? 'judged'] += interval_ms;
    if (disturbed) return;
    this.last = figures;
    for (const [way, parts] of [['up', figures.up], ['down', figures.down]]) {
      for (const [kind, part] of Object.entries(parts)) for (const [name, value] of Object.entries(part ?? {})) this.#sum(`${way} ${kind} ${name}`, value, interval_ms);
    }
    const rtt_ms = figures.path?.rtt_ms ?? figures.up.audio?.rtt_ms ?? null;
    if (rtt_ms !== null) this.rtts.push(rtt_ms);
    const jitter = figures.down.audio?.jitter_rfc3550_ms ?? null;
    if (jitter !== null) this.jitters.push(jitter);
    const [up, down] = [figures.up.audio ?? figures.up.video, figures.down.audio ?? figures.down.video];
    this.points.push({ at_ms: figures.at_ms - interval_ms, rtt: rtt_ms, loss_up: [up?.lost ?? null, up?.reported], loss_down: [down?.lost ?? null, down ? down.packets + Math.max(0, down.lost) : 0] });
    if (this.points.length > POINTS) this.points = this.points.flatMap((point, n, all) => (n % 2 ? [] : [both(point, all[n + 1])]));
    for (const list of [this.rtts, this.jitters]) if (list.length > 20_000) list.splice(0, list.length, ...list.filter((_, n) => n % 2));
  }

  #sum(name, value, ms) {
    if (typeof value !== 'number') return;
    const { total = 0, weighted = 0, ms: so_far = 0, greatest = value } = this.sums.get(name) ?? {};
    this.sums.set(name, { total: total + value, weighted: weighted + value * ms, ms: so_far + ms, greatest: Math.max(greatest, value) });
  }

  total(name) {
    return this.sums.get(name)?.total ?? null;
  }

  mean(name) {
    const sum = this.sums.get(name);
    return sum ? sum.weighted / sum.ms : null;
  }
}

function both(one, other) {
  if (!other) return one;
  const lost = (name) => [one[name][0] === null && other[name][0] === null ? null : (one[name][0] ?? 0) + (other[name][0] ?? 0), (one[name][1] ?? 0) + (other[name][1] ?? 0)];
  return { at_ms: one.at_ms, rtt: Math.max(one.rtt ?? -1, other.rtt ?? -1) < 0 ? null : Math.max(one.rtt ?? 0, other.rtt ?? 0), loss_up: lost('loss_up'), loss_down: lost('loss_down') };
}

const tidy = (value) => Math.round(value * 1e6) / 1e6;
const none = (reason) => ({ state: 'not_tested', reason });
const estimate = (value, n, reason) => (value === null ? none(reason) : { state: 'measured', value: tidy(value), low: null, high: null, n: Math.round(n) });
const fields = (names, value) => Object.fromEntries(names.split(' ').map((name) => [name, value]));
/** The nearest rank. */
const rank = (sorted, share) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];

function distribution(values, reason) {
  if (values.length === 0) return none(reason);
  const sorted = Float64Array.from(values, tidy).sort();
  const n = sorted.length;
  // Fewer do not bound a percentile: as in every other report.
  return { state: 'measured', n, min: sorted[0], p50: rank(sorted, 0.5), p95: n >= 72 ? rank(sorted, 0.95) : null, p99: n >= 368 ? rank(sorted, 0.99) : null, max: sorted[n - 1], p50_bounds: null, p95_bounds: null };
}

/** UUIDv7 (RFC 9562 §5.7). */
function uuid(now) {
  const octets = crypto.getRandomValues(new Uint8Array(16));
  for (let n = 5, ms = now; n >= 0; n -= 1, ms = Math.floor(ms / 256)) octets[n] = ms % 256;
  octets[6] = 0x70 | (octets[6] & 15);
  octets[8] = 0x80 | (octets[8] & 63);
  const hex = Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** The short code of an id: its last forty bits. */
export function shortCode(id) {
  const bits = Number.parseInt(id.replaceAll('-', '').slice(-10), 16);
  const letters = Array.from({ length: 8 }, (_, n) => LETTERS[Math.floor(bits / 32 ** (7 - n)) % 32]).join('');
  return `${letters.slice(0, 4)}-${letters.slice(4)}`;
}

/** A direction of one kind of media, as far as a browser counts it. */
function direction(tally, way, kind) {
  const of = (name) => tally.total(`${way} ${kind} ${name}`);
  const why = 'a browser does not tell it of a call';
  const [packets, lost] = [of('packets') ?? 0, Math.max(0, of('lost') ?? 0)];
  const reported = way === 'up' ? Math.min(packets, of('reported') ?? 0) : packets + lost;
  const gone = Math.min(lost, reported);
  const sent = way === 'up' ? packets : packets + lost;
  const late = way === 'up' ? 0 : Math.min(packets, Math.max(0, of('late') ?? 0));
  const ratio = of('lost') === null || reported === 0 ? null : gone / reported;
  const jitters = way === 'down' && kind === 'audio' ? tally.jitters : [];
  return {
    ...fields('corrupt host_dropped send_failed not_sent duplicate reordered', 0),
    planned: sent, sent, on_time: reported - gone - late, late, lost: gone, awaited: sent - reported,
    loss_ratio: estimate(ratio, reported, way === 'up' ? 'the other side reported nothing' : 'nothing came'),
    ...fields('host_loss_ratio pdv_ms ipdv_mean_abs_ms burst burst_loss_200ms_ratio reordering duplicate_ratio host_delay_ms local_queue_ms capacity_bps', none(why)),
    late_loss_ratio: fields('fixed_40ms fixed_60ms fixed_100ms fixed_200ms adaptive adaptive_delay_ms', none(why)),
    jitter_rfc3550_ms: jitters.length === 0 ? none(why) : { state: 'measured', n: packets, last: tidy(jitters.at(-1)), p95: tidy(rank(Float64Array.from(jitters).sort(), 0.95)), max: tidy(jitters.reduce((a, b) => Math.max(a, b))) },
  };
}

const useOf = (height) => (height > 720 ? 'video_1080p' : height > 360 ? 'video_720p' : 'video_360p');

/** The call's video as streams. What it was sent at is the rung. */
function streams(tally) {
  return ['up', 'down'].flatMap((way) => {
    const bps = tally.mean(`${way} video bps`);
    if (bps === null) return [];
    const height = tally.sums.get(`${way} video height`)?.greatest ?? 0;
    return [{ use: useOf(height), direction: way, rung_bps: Math.round(bps), received_bps: way === 'down' ? estimate(bps, tally.total('down video packets') ?? 0, '') : none('the other side knows'), ...direction(tally, way, 'video') }];
  });
}

function series(tally) {
  const at_ms = tally.points.map((point) => tidy(point.at_ms));
  const lost = ([n, whole]) => (n === null || !(whole > 0) ? null : tidy(Math.max(0, n) / whole));
  const one = (name, unit, get) => ({ name, unit, at_ms, values: tally.points.map(get) });
  return [one('rtt', 'ms', ({ rtt }) => (rtt === null ? null : tidy(rtt))), one('loss_up', 'ratio', ({ loss_up }) => lost(loss_up)), one('loss_down', 'ratio', ({ loss_down }) => lost(loss_down))];
}

/** What the sentences have places for. */
function params({ code, worst, unit, from, to }, total_ms, times) {
  const shown = { ratio: { percent: worst === null ? null : Math.round(worst * 1_000) / 10 }, ms: { ms: worst === null ? null : Math.round(worst) }, fps: { fps: worst === null ? null : Math.round(worst) } }[unit] ?? {};
  return { ...shown, seconds: Math.round(total_ms / 1_000), times, ...(code === 'path_changed' ? { from, to } : {}) };
}

/** Each reason that there was, as a cause; worst first. */
function causes(ended, tally, words) {
  const { judged } = tally.ms;
  const of = ended.reduce((all, one) => all.set(one.code, [...(all.get(one.code) ?? []), one]), new Map());
  const found = [...of].map(([code, all]) => {
    const rule = RULES.find((one) => one.code === code);
    const total_ms = all.reduce((sum, { lasted_ms }) => sum + lasted_ms, 0);
    const greatest = all.reduce((worst, one) => ((rule?.less ? one.worst < worst.worst : one.worst > worst.worst) ? one : worst));
    const brief = total_ms < BRIEF_MS && total_ms < BRIEF_RATIO * judged;
    const state = NOTES.includes(code) || brief ? 'ready' : 'degraded';
    const values = params(greatest, total_ms, all.length);
    const [say, fix] = (words.reasons[code] ?? [code, null]).map((text) => text && fill(text, values));
    const seconds = (ms) => (ms / 1_000).toFixed(1);
    return {
      code, params: values, state, place: greatest.place, direction: greatest.direction, uses: [], metric: `call.${code}`, measured: greatest.worst, good: rule?.begins ?? null, limit: null,
      margin: rule && !rule.less && greatest.worst !== null ? tidy(greatest.worst / rule.begins) : null, say, fix,
      evidence: all.slice(0, 5).map((one) => `from ${seconds(one.at_ms)} s for ${seconds(one.lasted_ms)} s`), ruled_out: [], total_ms,
    };
  });
  found.sort((a, b) => (a.state === 'degraded' ? 0 : 1) - (b.state === 'degraded' ? 0 : 1) || b.total_ms - a.total_ms);
  return found.slice(0, 64).map(({ total_ms, ...cause }) => cause);
}

function verdict(ended, tally, words) {
  const { judged, hidden, stalled } = tally.ms;
  const found = causes(ended, tally, words);
  const nothing = !['up', 'down'].some((way) => ['audio', 'video'].some((kind) => tally.total(`${way} ${kind} packets`) > 0));
  const unsure = nothing || judged < LEAST_JUDGED_MS || judged < hidden + stalled;
  const degraded = found[0]?.state === 'degraded';
  if (unsure) for (const cause of found) if (cause.code.startsWith('page_')) cause.state = 'inconclusive';
  const overall = degraded ? 'degraded' : unsure ? 'inconclusive' : 'ready';
  const leading = found.find(({ state }) => state === overall && state !== 'ready');
  const [say, fix] = leading ? [leading.say, leading.fix] : unsure ? words.unsure : words.well;
  const heard = tally.sums.has('up audio packets') || tally.sums.has('down audio packets');
  const uses = heard ? { audio: { state: overall, certain: false, asked: true, reason: overall === 'inconclusive' ? say : null } } : {};
  return { overall, certain: false, place: leading?.place ?? null, direction: leading?.direction ?? null, say, fix, uses, causes: found };
}

/**
 * The report of a call.
 * @param {{ tally: Tally, ended: object[], began: number, duration_ms: number, parent: { id: string|null, code: string|null }, complete: boolean, every_ms: number, labels: object, words: object }} call
 */
export function report({ tally, ended, began, duration_ms, parent, complete, every_ms, labels, words }) {
  const id = uuid(began);
  const why = 'a call was watched, nothing was sent to measure it';
  const nobody = { state: none(why), failure: null };
  const { path } = tally.last ?? {};
  const total = (name) => tally.total(name) ?? 0;
  const kinds = ['audio', 'video'].filter((kind) => tally.sums.has(`up ${kind} packets`) || tally.sums.has(`down ${kind} packets`));
  return {
    schema: 'greenroom.report/1', id, kind: 'monitor', parent: parent.id, code: shortCode(id), complete, started: new Date(began).toISOString(), duration_ms: tidy(duration_ms),
    bytes_used: 0, labels, agent: { id: null, boot: null, seq: null }, tool: { name: 'greenroom-monitor', version: VERSION, source: 'browser' },
    environment: { os: null, arch: null, network: path ? { candidate_local: path.local, candidate_remote: path.remote, protocol: path.protocol, relay_protocol: path.relay_protocol } : {} },
    profile: { name: 'call', version: 1, title: 'A running call: its limits stand in settings.run.limits', uses: {} },
    settings: {
      asked: { every_ms, parent_code: parent.code },
      run: {
        judged_ms: tally.ms.judged, hidden_ms: tally.ms.hidden, stalled_ms: tally.ms.stalled,
        limits: RULES.map(({ code, unit, begins, ends, begins_ms, ends_ms }) => ({ code, unit, begins, ends, begins_ms, ends_ms })), judged_by: SETTINGS,
        reasons: ended.slice(0, TOLD).map(({ code, at_ms, lasted_ms, worst, unit, from, to }) => ({ code, from_ms: at_ms, lasted_ms, worst, unit, ...(from ? { from, to } : {}) })), reasons_left_out: Math.max(0, ended.length - TOLD),
        means: Object.fromEntries([...tally.sums.keys()].filter((name) => /(bps|fps|height|_ratio|_ms|_dbfs)$/.test(name) && !name.endsWith('frozen_ms')).map((name) => [name.replaceAll(' ', '.'), tidy(tally.mean(name))])),
        frozen_ms: total('down video frozen_ms'),
      },
      judged: { uses: [], devices: [], mode: 'quick', at_cap: true },
    },
    verdict: verdict(ended, tally, words),
    targets: kinds.length === 0 ? [] : [{
      url: 'webrtc:call', kind: 'webrtc-call', state: { state: 'measured', transport: path?.relay_protocol ?? path?.protocol ?? 'unknown', address: null, setup_ms: null, instead_of_udp: null }, failure: null,
      in_process: false, identity: null, timestamps: { here: 'unknown', there: 'unknown' }, rtt_ms: distribution(tally.rtts, 'no answer was timed'), reflector_hold_ms: none(why),
      up: direction(tally, 'up', 'audio'), down: direction(tally, 'down', 'audio'), streams: streams(tally),
      loaded: { idle_rtt_p50_ms: none(why), rtt_increase_ms: {}, saturated_up_ms: none(why), saturated_down_ms: none(why) },
      quality: { mos: none(why), r: none(why), model: 'none', codec: 'none', codec_source: 'none' },
      self_error: { send_lateness_ms: none(why), late_sends: 0, host_delay_ms: none(why), unusable: [] }, skew_ppm: none(why), phases: [], series: series(tally),
    }],
    devices: { system: 'other', sound: nobody, pictures: nobody, microphones: [], speakers: [], cameras: [], acoustic_loop: { ...nobody, channels: [] } },
    host: { ...fields('delay_ms cpu_busy_ratio cpu_steal_ratio', none(why)), machine: { ...fields('processor load_per_core memory throttling power graphics hardware_codecs screen_capture permissions clock_offset_ms', none(why)), encode: [] } },
    join: {}, trace: null, sketches: {},
  };
}

/** A call's report while the call runs. */
export class Report {
  #tally = new Tally();
  #options;
  #words;

  constructor(options, words) {
    this.#options = options;
    this.#words = words;
  }

  /** With its words, which would not come any more when a call has broken off. */
  static async begin(options) {
    return new Report(options, await reasons('en'));
  }

  add(figures) {
    this.#tally.add(figures);
  }

  /** The report; handed in where that was asked for, and the person was told. */
  async end({ send, notice, ...call }) {
    const { endpoint, link, labels = {}, every_ms, parent } = this.#options;
    const made = report({ ...call, tally: this.#tally, parent: before(parent), every_ms, labels, words: this.#words });
    if (!send || !notice) return { report: made, kept: null, not_sent: send ? 'no_notice' : 'not_asked' };
    try {
      const { Server } = await import('./server.js');
      const server = new Server(endpoint, link);
      // By the check link, or by a session of its own, which lets one in.
      const headers = link ? {} : { Authorization: `Bearer ${(await server.session()).run}` };
      return { report: made, kept: await server.post('reports', made, headers), not_sent: null };
    } catch (error) {
      return { report: made, kept: null, not_sent: error?.reason ?? 'offline' };
    }
  }
}

/** The report of the check before: as given, else that of this tab's last check. */
function before(given) {
  if (given === null) return { id: null, code: null };
  if (typeof given === 'string') return given.length === 36 ? { id: given, code: shortCode(given) } : { id: null, code: given };
  return given ? { id: given.id ?? null, code: given.code ?? null } : lastReport();
}

/** The report of the last check in this tab, as `memory.js` keeps it; nulls where there was none. */
function lastReport() {
  try {
    const { id = null, code = null } = JSON.parse(sessionStorage.getItem('greenroom-check-last')) ?? {};
    return { id, code };
  } catch {
    return { id: null, code: null };
  }
}
