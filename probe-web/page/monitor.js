// A running call watched: `monitor(pc)` says what goes wrong while it does, and afterward gives one report, linked to the check before the call.

import { close, fresh, read, step } from './monitor-figures.js';

/** How often the statistics are looked at. Browsers keep them for some 50 ms. */
const EVERY_MS = 2_000;
/** How often the page shows that it is not held up, and from when on a beat is late. */
const BEAT_MS = 250;
const LATE_MS = 250;
/** Statistics that have not come by then do not come. */
const STATS_MS = 5_000;

/**
 * Watches a connection until `end()`, `stop()` or its own close.
 * @param {RTCPeerConnection} pc
 * @param {import('./monitor.js').MonitorOptions} [options]
 */
export const monitor = (pc, options = {}) => new Monitor(pc, options);

export class Monitor extends EventTarget {
  #pc;
  #options;
  #state = fresh();
  /** Looks that the report is still to be made of, while what makes it is loaded. */
  #figures = [];
  #report = null;
  #ended = [];
  #began = performance.now();
  #wall = Date.now();
  #beat_at = performance.now();
  #stalled_ms = 0;
  #hidden = false;
  #timers = [];
  #running = true;
  #looking = null;
  #ear = null;
  #loaded;
  #duration_ms = null;
  #seen = () => { this.#hidden ||= isHidden(); };

  /** @param {RTCPeerConnection} pc */
  constructor(pc, options = {}) {
    super();
    this.#pc = pc;
    this.#options = { every_ms: EVERY_MS, ...options };
    // Loaded now: at the end of a call that broke off it would not come.
    this.#loaded = import('./monitor-report.js').then(async ({ Report }) => { this.#report = await Report.begin(this.#options); });
    this.#loaded.catch(() => {});
    if (options.microphone) import('./monitor-sound.js').then(({ listen }) => { this.#ear = this.#running ? listen(options.microphone) : null; }).catch(() => {});
    globalThis.document?.addEventListener('visibilitychange', this.#seen);
    this.#timers = [setInterval(() => this.#beat(), BEAT_MS), setInterval(() => { this.look(); }, this.#options.every_ms)];
    this.look();
  }

  /** What is wrong now: codes. */
  get active() {
    return [...this.#state.reasons].filter(([, { on }]) => on).map(([code]) => code);
  }

  /** Looks at the statistics once, now. The monitor does so by itself. */
  look() {
    this.#looking ??= this.#look().finally(() => { this.#looking = null; });
    return this.#looking;
  }

  async #look() {
    if (!this.#running) return;
    if (isClosed(this.#pc)) {
      this.stop();
      return;
    }
    const stats = await statistics(this.#pc);
    if (!stats || !this.#running || isClosed(this.#pc)) return;
    this.#beat();
    this.#seen();
    const at_ms = performance.now() - this.#began;
    const seen = { ...around(this.#pc), hidden: this.#hidden, stalled_ms: this.#stalled_ms };
    if (seen.microphone) seen.microphone.sound = this.#hidden || this.#stalled_ms > 0 ? null : this.#ear?.heard() ?? null;
    [this.#hidden, this.#stalled_ms] = [isHidden(), 0];
    const { state, figures, events } = step(this.#state, read(stats.values(), at_ms, seen));
    this.#state = state;
    if (figures) {
      this.#figures.push(figures);
      if (this.#report) this.#figures.splice(0).forEach((one) => this.#report.add(one));
      this.#tell('figures', figures);
    }
    for (const event of events) this.#reason(event);
  }

  #reason({ type, ...reason }) {
    if (type === 'end') this.#ended.push(reason);
    this.#tell(type, reason);
    this.#options.onreason?.({ type, ...reason });
  }

  #tell(type, detail) {
    this.dispatchEvent(Object.assign(new Event(type), { detail }));
  }

  /** The page lives: how late it is tells how long it was held up. */
  #beat() {
    const now = performance.now();
    const late = now - this.#beat_at - BEAT_MS;
    if (late > LATE_MS) this.#stalled_ms += late;
    this.#beat_at = now;
    if (!this.#hidden) this.#ear?.take();
  }

  /** Ends watching, and with it what is wrong still. */
  stop() {
    if (!this.#running) return;
    this.#running = false;
    this.#duration_ms = performance.now() - this.#began;
    this.#timers.forEach(clearInterval);
    globalThis.document?.removeEventListener('visibilitychange', this.#seen);
    this.#ear?.close();
    for (const event of close(this.#state, this.#duration_ms)) this.#reason(event);
    this.#state = fresh();
  }

  /**
   * Ends watching and gives the report. It goes to the server if the application asks, and says that the person was told.
   * @param {{ send?: boolean, notice?: boolean, complete?: boolean }} [how]
   * @returns {Promise<{ report: object, kept: object | null, not_sent: string | null }>}
   */
  async end({ send = false, notice = false, complete = true } = {}) {
    if (this.#running) await this.look().catch(() => {});
    this.stop();
    // Without it there is no report: the promise rejects.
    await this.#loaded;
    this.#figures.splice(0).forEach((one) => this.#report.add(one));
    return this.#report.end({ ended: this.#ended, began: this.#wall, duration_ms: this.#duration_ms, complete, send, notice });
  }
}

const isHidden = () => globalThis.document?.hidden === true;
const isClosed = (pc) => pc.signalingState === 'closed' || pc.connectionState === 'closed';

async function statistics(pc) {
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(resolve, STATS_MS, null); });
  try {
    return await Promise.race([pc.getStats(), late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

/** What stands beside the statistics: what is to be sent and to come, by whose choice. */
function around(pc) {
  const senders = pc.getSenders?.() ?? [];
  const sounds = senders.map(({ track }) => track).filter((track) => track?.kind === 'audio' && track.readyState === 'live');
  const one = sounds.find((track) => track.enabled && !track.muted) ?? sounds[0];
  const muted = !one ? null : one.muted ? 'system' : one.enabled ? null : 'application';
  const caps = senders.filter(({ track }) => track?.kind === 'video').flatMap((sender) => sender.getParameters?.().encodings ?? []).filter(({ active }) => active !== false).map(({ maxBitrate }) => maxBitrate);
  const coming = (pc.getTransceivers?.() ?? []).filter(({ receiver, currentDirection }) => receiver.track?.kind === 'audio' && /recv/.test(currentDirection ?? ''));
  // What the application asked the buffer to hold is no delay of the network's.
  const targets = coming.map(({ receiver }) => receiver.jitterBufferTarget ?? 0);
  const ice = { connected: 'connected', completed: 'connected', disconnected: 'disconnected', failed: 'failed' }[pc.iceConnectionState];
  return {
    connection: pc.connectionState ?? ice ?? null, microphone: one ? { id: one.id, muted } : null, wants_audio: coming.some(({ receiver }) => !receiver.track.muted),
    cap_bps: caps.length > 0 && caps.every((cap) => cap > 0) ? caps.reduce((sum, cap) => sum + cap, 0) : null, buffer_target_ms: Math.max(0, ...targets),
  };
}
