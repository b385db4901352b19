// The check without a page of its own: `check({ … })` runs it and gives what came of it.

import { openAll, stop } from './devices.js';
import { begin, measure } from './network.js';
import { CheckError, Server } from './server.js';
import { bars, linesOf } from './strength.js';
import { pause, resolvers, unless, within } from './time.js';

export { CheckError };

/** How long the picture is watched and the sound listened to, and how many packets are sent meanwhile, 50 a second. */
const WHOLE = { watch_ms: 4_000, packets: 300 };
/** Of somebody who was here before and had no trouble: two seconds. */
const QUICK = { watch_ms: 1_500, packets: 75 };
/** As much as goes each way, for so long, and never more octets. A second at a steady rate is what counts. */
export const LOAD = { bytes: 16_000_000, ms: 4_000 };
/** How long a result waits for the rest of what the connection, the computer and the camera were asked. */
const PATIENCE_MS = 4_000;
const FAIR = { camera: ['dark', 'overexposed', 'blurred'], microphone: ['too_quiet', 'clipped', 'noisy', 'nobody_spoke'] };
const FINE = { camera: 'picture', microphone: 'speech' };
const NO_SOUND = { rate_hz: null, channels: [] };
const NO_PICTURE = { frames: [], given: null, came: null, sizes: [] };

/** Waits for what may be of use, and not for ever. */
const patiently = async (what) => { if (what) await within(what, PATIENCE_MS).catch(() => {}); };

/**
 * Runs a check. It settles whatever happens: with what came of it, or with a {@link CheckError} that says why there is nothing.
 * @param {import('./greenroom-check.js').CheckOptions} [options]
 */
export const check = async (options = {}) => new Check(options).run();

/** One run. */
export class Check {
  #options;
  #server;
  #stopping = new AbortController();
  #streams = [];
  #began = 0;
  #hidden = 0;
  #found = null;
  #session = null;
  /** What measures the connection, as far as it has begun. */
  #begun = null;
  #sent = false;
  /** Settles when the connection may be filled. */
  #free = resolvers();
  #unloaded = 'late';
  /** Whether there was a first verdict, and what says that it is enough. */
  #told = false;
  #enough = resolvers();
  /** What looks at devices: it comes while the person reads the browser's question. */
  #tools = null;

  constructor(options = {}) {
    const all = { devices: ['camera', 'microphone', 'speaker'], for: '720p', chosen: {}, onprogress: () => {}, onlevel: () => {} };
    this.#options = { ...all, ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) };
    this.#server = new Server(options.endpoint, options.link);
    options.signal?.addEventListener('abort', () => this.stop());
    if (options.signal?.aborted) this.stop();
  }

  /** Ends it; what it has opened is closed. Where there was a first verdict, with what was there for it. */
  stop() {
    this.#enough.resolve();
    if (!this.#told) this.#stopping.abort(new CheckError('stopped'));
  }

  async run() {
    const seen = () => { if (document.hidden) this.#hidden += 1; };
    const leave = () => this.#leave();
    document.addEventListener('visibilitychange', seen);
    window.addEventListener('pagehide', leave);
    const lock = wakeLock();
    try {
      seen();
      return await unless(this.#go(), this.#stopping.signal);
    } finally {
      document.removeEventListener('visibilitychange', seen);
      window.removeEventListener('pagehide', leave);
      // What goes on behind a run that was stopped ends too.
      this.#stopping.abort(new CheckError('stopped'));
      if (!this.#options.keep) this.release();
      lock.then((held) => held?.release()).catch(() => {});
    }
  }

  /** Switches off what was switched on. */
  release() {
    this.#streams.splice(0).forEach(stop);
  }

  async #go() {
    const { devices, quick, screen } = this.#options;
    this.#live();
    this.#tell({ step: 'session', state: 'running' });
    this.#begun = begin(this.#stopping.signal);
    // They come beside the session, and before anything is measured: over a narrow way they would be in its way.
    const later = quick ? [] : [import('./machine.js'), import('./media-path.js')];
    const tools = Promise.all([import('./camera.js'), import('./microphone.js'), import('./speaker.js'), import('./handoff.js'), warmWorklet(), ...later]);
    tools.catch(() => {});
    this.#session = await this.#server.session();
    const [cameras, microphones, speakers, handoff] = await tools.catch(() => { throw new CheckError('offline'); });
    this.#tools = { cameras, microphones, speakers, ...handoff };
    this.#live();
    const { media, limits } = this.#session;
    this.#began = performance.now();
    this.#found = { camera: null, microphone: null, speaker: { outcome: 'skipped', label: '' }, network: { state: 'not_tested', reason: 'left' }, machine: null, screen: null, relays: null, echo: null };
    const found = this.#found;
    // It needs no permission: it runs while the person reads the browser's question.
    const { first, whole } = this.#measure(media);
    this.#tell({ step: 'permission', state: 'asking' });
    const opened = await openAll(this.#options.chosen, devices);
    for (const one of [opened.camera, opened.microphone]) if (one?.stream) this.#streams.push(one.stream);
    this.#live();
    this.#tell({ step: 'permission', state: 'done' });
    const echo = quick ? null : this.#echo(opened, first).catch(() => {});
    await Promise.all([this.#watch(opened.camera, limits), this.#listen(opened.microphone, limits)]);
    this.#live();
    const more = quick ? null : first.then(() => echo).then(() => this.#look(opened.camera));
    // What fills the connection holds a trial call up, and keeps the computer busy: not while these are measured.
    this.#free.resolve(patiently(echo).then(() => patiently(more)));
    if (!quick && devices.includes('speaker')) await this.#speaker(opened.microphone?.stream ?? null, limits);
    if (screen) found.screen = await this.#screen();
    await first;
    this.#live();
    await this.#early(whole);
    await patiently(echo);
    await patiently(more);
    this.#live();
    await Promise.race([whole, this.#enough.promise]);
    await this.#warm();
    this.#live();
    return await this.#send();
  }

  /** Tells what there is so far, where the rest takes longer. */
  async #early(whole) {
    const { onearly } = this.#options;
    const over = await Promise.race([whole.then(() => true), pause(0).then(() => false)]);
    if (over || !onearly || this.#unwanted) return;
    this.#tell({ step: 'network', state: 'running', code: 'loading' });
    const report = await this.#server.post('runs/look', this.#body(false)).catch(() => null);
    const result = report && await this.#result(report);
    this.#live();
    if (!result) return;
    this.#told = true;
    this.#found.network.unloaded ??= 'stopped';
    onearly(result);
  }

  /** Nothing more is done for a run that was stopped. */
  #live() {
    if (this.#stopping.signal.aborted) {
      this.release();
      throw this.#stopping.signal.reason;
    }
  }

  /** `first`: enough is there for a first verdict; `whole`: all of it. */
  #measure(media) {
    let early;
    const first = new Promise((resolve) => { early = resolve; });
    const onearly = async (result) => {
      this.#found.network = result;
      early();
      await this.#free.promise;
      return this.#load();
    };
    const whole = this.#connect(media, onearly);
    whole.catch(() => {});
    return { first: Promise.race([first, whole]), whole };
  }

  /** How far the connection may be filled; `null` for not at all. */
  #load() {
    this.#unloaded = this.#unwanted;
    return this.#unwanted || this.#stopping.signal.aborted ? null : LOAD;
  }

  /** Why the connection is not to be filled; `null` where it may be. */
  get #unwanted() {
    if (this.#options.quick) return 'quick';
    return navigator.connection?.saveData ? 'save_data' : null;
  }

  async #connect(media, onearly) {
    const { limits } = this.#session;
    this.#tell({ step: 'network', state: 'running', code: 'testing' });
    const { relays, ...result } = await measure(media, {
      begun: this.#begun,
      rung_bps: this.#options.quick ? null : limits.rungs_bps?.[this.#options.for] ?? null,
      fill: this.#unwanted === null,
      onearly,
      webRtc: this.#server.webRtc,
      webSocket: this.#server.webSocket,
      ice: this.#session.ice_servers ?? [],
      packets: (this.#options.quick ? QUICK : WHOLE).packets,
      signal: this.#stopping.signal,
      onstrength: ({ due, came, rtt_ms }) => {
        if (due > 0 && rtt_ms !== null) this.#tell({ step: 'network', state: 'running', code: 'testing', strength: bars(rtt_ms, 1 - came / due, limits.connection) });
      },
    });
    if (result.state === 'measured' && !result.load) result.unloaded = result.way === 'webtransport' ? this.#unloaded ?? 'broke' : 'way';
    Object.assign(this.#found, { network: result, relays });
    const tcp = { unsupported: 'tcp_unsupported', unreachable: 'tcp' }[result.instead];
    const over = { websocket: tcp, 'turn-udp': 'relay', 'turn-tcp': 'relay_tcp', 'turn-tls': 'relay_tcp' }[result.way];
    const state = { measured: over ? 'fair' : 'done', failed: 'bad', not_tested: 'done' }[result.state];
    this.#tell({ step: 'network', state, code: result.state === 'measured' ? over ?? 'tested' : result.reason, figures: relays ?? undefined });
  }

  /** Sound and picture there and back, as a call sends them, once the packets are through: mostly while the person is asked. */
  async #echo(opened, clear) {
    const grant = this.#session.media?.echo_grant;
    if (!grant) return;
    const { echo } = await import('./media-path.js');
    this.#found.echo = await echo({ ...this.#options, ...opened, url: this.#server.webRtc, grant, clear, signal: this.#stopping.signal, tell: (detail) => this.#tell(detail) });
  }

  async #watch(opened, limits) {
    if (opened === null) return;
    const barred = (failure) => ({ label: '', failure, ran_ms: 0, ...NO_PICTURE });
    if (typeof opened === 'string') {
      this.#found.camera = barred(opened);
      this.#tell({ step: 'camera', state: 'bad', failure: opened });
      return;
    }
    const video = this.#options.video ?? Object.assign(document.createElement('video'), { muted: true, playsInline: true });
    this.#tell({ step: 'camera', state: 'running', code: 'watching' });
    const seen = await this.#tools.cameras.watch(opened.stream, video, this.#watchMs);
    const failure = seen.ended ? 'ended' : null;
    const { ran_ms, given, came, frames } = seen;
    this.#found.camera = { label: short(seen.label), failure, first_ms: opened.first_ms, ran_ms, given, came, frames, sizes: [], preview: this.#options.preview?.told() ?? undefined };
    this.#named('camera', failure, failure ? null : this.#tools.cameras.seen(frames, limits.picture), { ...given, rate: this.#tools.cameras.rate(seen) });
  }

  async #listen(opened, limits) {
    if (opened === null) return;
    if (typeof opened === 'string') {
      this.#found.microphone = { label: '', failure: opened, ran_ms: 0, ...NO_SOUND };
      this.#tell({ step: 'microphone', state: 'bad', failure: opened });
      return;
    }
    this.#tell({ step: 'microphone', state: 'running', code: 'speak' });
    const { ended, label, ...heard } = await this.#tools.microphones.listen(opened.stream, this.#watchMs, limits, this.#options.onlevel);
    const failure = ended ? 'ended' : null;
    this.#found.microphone = { label: short(label), failure, first_ms: opened.first_ms, ...heard };
    const { speech } = this.#tools.microphones.levels(heard, limits);
    this.#named('microphone', failure, failure ? null : this.#tools.microphones.heard(heard, limits), { speech });
  }

  get #watchMs() {
    return (this.#options.quick ? QUICK : WHOLE).watch_ms;
  }

  #named(step, failure, code, figures) {
    if (failure) {
      this.#tell({ step, state: 'bad', failure });
      return;
    }
    const bad = FAIR[step].includes(code) ? 'fair' : 'bad';
    this.#tell({ step, state: code === FINE[step] ? 'good' : bad, code, figures });
  }

  async #speaker(microphone, limits) {
    const { chosen, answer } = this.#options;
    const asked = { microphone, limits, chosen, answer, signal: this.#stopping.signal, tell: (detail) => this.#tell(detail) };
    const { label, ...heard } = await this.#tools.speakers.ask(asked);
    this.#found.speaker = { label: short(label), ...heard };
  }

  /** What takes a moment longer, while the person listens to the speaker. */
  async #look(camera) {
    const lines = [360, 720, 1080].filter((height) => height <= linesOf(this.#options.for));
    const { look } = await import('./machine.js');
    const { machine, whole } = look(lines, this.#stopping.signal);
    this.#found.machine = machine;
    await whole;
    this.#tell({ step: 'computer', state: 'done', figures: this.#found.machine });
    const seen = this.#found.camera;
    if (!camera?.stream || seen?.failure || this.#stopping.signal.aborted) return;
    const video = this.#options.video ?? Object.assign(document.createElement('video'), { muted: true, srcObject: camera.stream });
    seen.sizes = await this.#tools.cameras.sizes(camera.stream, video, lines);
    this.#tell({ step: 'camera', state: 'sizes', figures: seen.sizes });
  }

  /** The application's own files, when nothing is measured any more. */
  async #warm() {
    const { assets, quick } = this.#options;
    if (!assets) return;
    this.#tell({ step: 'assets', state: 'running' });
    this.#found.assets = await this.#tools.warm(assets, quick ? null : this.#enough.promise);
    this.#tell({ step: 'assets', state: 'done', figures: this.#found.assets });
  }

  async #screen() {
    const { ask } = await import('./screen.js');
    return ask({ answer: this.#options.answer, signal: this.#stopping.signal, tell: (detail) => this.#tell(detail) });
  }

  async #send() {
    this.#tell({ step: 'sending', state: 'running' });
    this.#sent = true;
    const report = await this.#server.post('runs', this.#body(false));
    this.#tools.keepReport(report);
    return this.#result(report);
  }

  async #result(report) {
    const { chosen } = this.#options;
    const result = this.#tools.handoff(report, { wanted: this.#options.for, chosen: this.#devicesUsed(chosen), camera: this.#found.camera, machine: this.#found.machine, limits: this.#session.limits });
    return { ...result, report, network: this.#session.network, embedders: this.#session.embedders, machine: this.#found.machine };
  }

  /** The devices that were open, also where the browser chose them. */
  #devicesUsed(chosen) {
    const id = (kind) => this.#streams.flatMap((stream) => stream.getTracks()).find((track) => track.kind === kind)?.getSettings().deviceId;
    return { camera: chosen.camera ?? id('video'), microphone: chosen.microphone ?? id('audio'), speaker: chosen.speaker };
  }

  #body(partial) {
    return {
      run: this.#session.run, duration_ms: performance.now() - this.#began, partial, devices: this.#asked(),
      browser: { system: system(), isolated: self.crossOriginIsolated === true, hidden: this.#hidden },
      ...this.#found,
    };
  }

  /** The devices that count. In two seconds nobody has to speak, and nothing is played. */
  #asked() {
    const { devices, quick } = this.#options;
    if (!quick) return devices;
    const spoke = this.#found.microphone && this.#tools?.microphones.heard(this.#found.microphone, this.#session.limits) !== 'nobody_spoke';
    return devices.filter((kind) => kind === 'camera' || (kind === 'microphone' && (spoke || this.#found.microphone?.failure)));
  }

  /** Whoever leaves has the part that is done told; nobody can ask them any more. */
  #leave() {
    if (!this.#found || this.#sent) return;
    this.#sent = true;
    this.#server.leave(this.#body(true));
  }

  #tell(detail) {
    if (!this.#stopping.signal.aborted) this.#options.onprogress(detail);
  }
}

/** What listens to the microphone comes by another way than modules do: it is to be in the browser's cache by then. */
const warmWorklet = () => fetch(new URL('./meter-worklet.js', import.meta.url), { credentials: 'omit' }).then((response) => response.arrayBuffer(), () => {});

/** Keeps the screen on; a phone that goes dark measures nothing. */
async function wakeLock() {
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  try {
    if (policy && !policy.allowsFeature('screen-wake-lock')) return null;
    return await navigator.wakeLock.request('screen');
  } catch {
    return null;
  }
}

/** The family of operating systems, which decides what advice helps. */
export function system() {
  const platform = `${navigator.userAgentData?.platform ?? ''} ${navigator.userAgent}`;
  const systems = [['Android', /android/i], ['iOS', /iphone|ipad/i], ['Windows', /windows/i], ['macOS', /mac/i], ['Linux', /linux|x11/i]];
  return systems.find(([, pattern]) => pattern.test(platform))?.[0] ?? '';
}

/** A device's name as far as it goes into a report. */
const short = (label) => [...label].slice(0, 200).join('').replace(/\p{Cc}/gu, ' ');
