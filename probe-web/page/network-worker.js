// Measures the connection, in a worker: the page's own work and a hidden tab do not delay it. It measures only; the server judges.

import { ACCEPT, ByWebTransport, FINISH, FINISHED, Queue, base64, frame, hello } from './carriers.js';
import { CHALLENGE, FIRST_PROBE, HEADERS, IN_STREAM, PROBE, keys, packet, reply } from './stamp.js';
import { pause, within } from './time.js';

/** What WebTransport has before WebRTC is tried beside it: it needs less of the page. A first packet that is lost takes a second of it. */
const HEAD_START_MS = 2_000;
const INTERVAL_MS = 20;
/** Packets over TCP, which hides losses: three seconds show its delays. */
const OVER_TCP = 150;
/** How often the page is told how it stands. */
const TELL_MS = 500;
/** What was sent later than this ago may still be answered. */
const DUE_US = 1_000_000;
const ANSWER_MS = 4_000;
/** A packet that is later than this is not sent any more: the computer slept. */
const MOST_LATE_MS = 250;
/** How long stragglers are awaited. */
const DRAIN_MS = 1_000;
const LIMITS = { max_bitrate_bps: 200_000, max_pps: 100, max_duration_us: 45_000_000 };
const REFUSE = 3;
const HALF_TRACE = 16;

/** It may wait for what to do: that is no part of what it measures. */
let zero = performance.now();
/** Microseconds since the measurement began: now, or at a time of the page's. */
const now = (unix_ms) => Math.round(((unix_ms === undefined ? performance.now() : unix_ms - performance.timeOrigin) - zero) * 1000);
/** What the page says of each WebRTC connection that it was asked for, by its number. */
const queues = [];
const told = (of) => (queues[of] ??= new Queue());
/** What became of the relays, where they were tried. */
let relays = null;
/** Whether there is to be more than the first look needs. */
const word = new Queue();

self.onmessage = async ({ data }) => {
  if (data.url) {
    zero = performance.now();
    self.postMessage({ done: await measure(data), relays });
  } else if ('load' in data) word.put(data);
  else told(data.of).put(data);
};
// What is sent to a worker that has not read its script to the end may be lost.
self.postMessage({ ready: true });

async function measure(asked) {
  let { grant, web_socket, packets, rung_bps, fill } = asked;
  const failed = (reason, after = now()) => ({ state: 'failed', reason, after_ms: after / 1000 });
  let { carrier, instead, after } = await overUdp(asked);
  if (!carrier && instead === 'unreachable' && asked.relays.length > 0) {
    const trial = (carrier, grant, packets) => session(carrier, { grant, packets, rung_bps: null, fill: false }, null);
    ({ carrier, grant, relays } = await import('./relays.js').then(({ best }) => best(asked, openPeer, trial)).catch(() => ({ grant, relays })));
  }
  if (!carrier && web_socket) carrier = await import('./socket.js').then(({ ByWebSocket }) => ByWebSocket.open(web_socket)).catch(() => null);
  if (!carrier) return instead === 'unsupported' ? { state: 'not_tested', reason: 'unsupported' } : failed('unreachable', after);
  const { way, on_page = false } = carrier;
  try {
    const fast = way === 'webtransport';
    const wanted = { grant, packets: /tcp|tls|socket/.test(way) ? Math.min(packets, OVER_TCP) : packets, rung_bps: fast ? rung_bps : null, fill };
    const tell = (result) => ({ ...result, way, on_page, instead });
    return tell(await session(carrier, wanted, fast ? (early) => self.postMessage({ early: tell(early) }) : null));
  } catch (error) {
    return failed(error instanceof Refused ? 'refused' : 'broke');
  } finally {
    carrier.close();
  }
}

class Unsupported extends Error {}

/** The first way over UDP that opens; why not WebTransport, and when that was given up. */
async function overUdp(media) {
  const has = typeof WebTransport === 'function';
  // It is needed once that is open, and comes meanwhile.
  if (has) import('./load.js').catch(() => {});
  const quic = has ? ByWebTransport.open(media) : Promise.reject(new Unsupported());
  let after;
  const late = quic.then(() => false, () => { after = now(); return true; });
  const peer = Promise.race([late, pause(HEAD_START_MS).then(() => true)]).then((wanted) => {
    if (wanted && media.web_rtc) return openPeer();
    throw new Unsupported();
  });
  const ways = [quic, peer];
  try {
    const carrier = await Promise.any(ways);
    // The other one may open all the same.
    for (const way of ways) way.then((one) => { if (one !== carrier) one.close(); }, () => {});
    return { carrier, instead: carrier.way === 'webtransport' ? null : has ? 'unreachable' : 'unsupported' };
  } catch ({ errors }) {
    return { carrier: null, instead: errors.every((error) => error instanceof Unsupported) ? 'unsupported' : 'unreachable', after };
  }
}

/** Asks the page for a connection, through a relay where one is named: workers have none of their own. */
async function openPeer(peer = { of: 0 }) {
  const { ByWebRtc } = await import('./peer.js');
  self.postMessage({ peer });
  const refused = ({ refused }) => { if (refused) throw Object.assign(new Unsupported(), { refused }); };
  const handed = await within(told(peer.of).take(), ANSWER_MS);
  refused(handed);
  return Promise.race([ByWebRtc.open(handed), told(peer.of).take().then(refused)]);
}

class Refused extends Error {}

async function session(carrier, { grant, packets, ...more }, tellEarly) {
  const frames = await carrier.control();
  const beside = tellEarly && new (await import('./load.js')).Beside(more);
  await within(carrier.write(hello(grant, beside?.hello(LIMITS) ?? { wants: LIMITS })), ANSWER_MS);
  const { value: first } = await within(frames.next(), ANSWER_MS);
  if (first?.kind === REFUSE) throw new Refused();
  if (first?.kind !== ACCEPT) throw new Error('not accepted');
  const accept = JSON.parse(new TextDecoder().decode(first.payload));
  const run = new Run(carrier, accept, await keys(accept.key), packets);
  run.beside = beside;
  const there = [];
  const log = collect(frames, there);
  if (!accept.validated) await run.validate();
  const setup_ms = now() / 1000;
  const telling = setInterval(() => self.postMessage({ seen: run.seen() }), TELL_MS);
  try {
    const sending = run.audio();
    sending.catch(() => {});
    // What goes on beside it says when there is enough.
    await beside?.play(run, sending, word, () => tellEarly({ ...run.told(), setup_ms, complete: true, there: [...there] }));
    run.enough = true;
    await sending;
  } finally {
    clearInterval(telling);
  }
  self.postMessage({ seen: run.seen() });
  const complete = await ended(carrier, log);
  run.over = true;
  return { ...run.told(), setup_ms, complete: complete && run.sent.length >= packets, there };
}

/** Asks for the rest of the endpoint's log; whether it came. */
async function ended(carrier, log) {
  try {
    await within(carrier.write(frame(FINISH, {})), ANSWER_MS);
    return await within(log, ANSWER_MS);
  } catch {
    return false;
  }
}

/** Keeps the endpoint's log as it comes; whether its end came. */
async function collect(frames, there) {
  try {
    for await (const { kind, payload } of frames) {
      if (kind === HALF_TRACE) there.push(base64(payload));
      if (kind === FINISHED) return true;
    }
  } catch {
    // What has come so far is kept.
  }
  return false;
}

/** One run's packets. */
class Run {
  sent = [];
  received = [];
  corrupt = 0;
  stalled_us = 0;
  covered_until_us = 0;
  over = false;
  /** Whether no more audio is needed than was planned. */
  enough = false;
  /** Whether the connection is being filled: what waits then says nothing of the browser. */
  filled = false;
  beside = null;
  came = new Queue();
  begin = 0;
  nonce = new Uint8Array(16);
  heard = new Promise((resolve) => { this.validated = resolve; });

  constructor(carrier, accept, { up, down }, packets) {
    this.carrier = carrier;
    this.accept = accept;
    this.packets = packets;
    [this.up, this.down] = [up, down];
    this.listen().catch(() => {});
  }

  now() {
    return now();
  }

  packet(seq, kind, at_us) {
    return this.sign(packet, { seq, kind, at_us, nonce: this.nonce });
  }

  sign(make, { at_us, ...wanted }) {
    return make({ ...wanted, unix_ms: performance.timeOrigin + zero + at_us / 1000, ssid: this.accept.ssid, key: this.up });
  }

  /** Notes when packets came; what they say is read behind that, for it takes a moment. */
  async listen() {
    this.read().catch(() => {});
    while (!this.over) {
      const value = await this.carrier.receive();
      this.came.put(value && { value, at: now(value.came) });
      if (value === null) return;
    }
  }

  async read() {
    for await (const { value, at } of this.came.all()) {
      if (await this.beside?.take(this, value, at)) continue;
      const said = await reply(value, this.down, this.accept.anchor_unix_us);
      if (said === null) this.corrupt += 1;
      else this.take(said, at, value.length);
    }
  }

  take(said, at, length) {
    if (said.kind === CHALLENGE) this.nonce = said.nonce;
    if (said.of >= FIRST_PROBE) {
      // Either it is known already, or the first audio packet to arrive shows it, which all bear the nonce.
      this.validated(true);
      return;
    }
    this.received.push([said.seq, at, length + HEADERS, said.of, said.received_us, said.sent_us]);
  }

  /** Shows the endpoint that what it sends to this address is wanted. */
  async validate() {
    const until = now() + ANSWER_MS * 1000;
    for (let probe = 0; now() < until; probe += 1) {
      await this.send(await this.packet(FIRST_PROBE + probe, PROBE, now()));
      const heard = await Promise.race([this.heard, pause(50)]);
      if (heard) return;
    }
    throw new Error('no datagram came back');
  }

  told() {
    const { sent, received, corrupt, covered_until_us, stalled_us } = this;
    return {
      state: 'measured', planned: sent.length, sent: [...sent], received: [...received], corrupt, stalled_us,
      covered_until_us: this.enough ? covered_until_us : now(), ...this.beside?.told(),
    };
  }

  /** Sends the audio stream, and waits for what is still on its way. */
  async audio() {
    this.begin = now() + INTERVAL_MS * 1000;
    for (let seq = 0; seq < this.packets || !this.enough; seq += 1) {
      const intended = this.begin + seq * INTERVAL_MS * 1000;
      // Made beforehand: signing is not to delay it.
      const octets = await this.packet(seq, IN_STREAM, intended);
      const wait = (intended - now()) / 1000;
      if (wait > 0) await pause(wait);
      const late = now() - intended > MOST_LATE_MS * 1000;
      this.sent.push([intended, late ? null : await this.send(octets), octets.length + HEADERS]);
    }
    const until = now() + DRAIN_MS * 1000;
    const heard = () => new Set(this.received.map((record) => record[3])).size;
    const wanted = this.sent.filter((record) => record[1] !== null).length;
    while (now() < until && heard() < wanted) await pause(20);
    this.covered_until_us = now();
  }

  /** Hands a packet to the browser once it takes one; when that was. */
  async send(octets) {
    const asked = now();
    const at = await this.carrier.send(octets, now);
    if (!this.filled) this.stalled_us = Math.max(this.stalled_us, at - asked);
    return at;
  }

  /** How it stands: how long the last second's answers took, and how many came of those that are due. */
  seen() {
    const until = now() - DUE_US;
    const answered = new Set(this.received.map((record) => record[3]));
    let due = 0;
    let came = 0;
    this.sent.forEach(([, at], seq) => {
      if (at === null || at > until) return;
      due += 1;
      came += answered.has(seq);
    });
    const trips = this.received.slice(-50).map(([, at, , of]) => at - (this.sent[of]?.[1] ?? at)).sort((a, b) => a - b);
    return { due, came, rtt_ms: trips.length ? trips[trips.length >> 1] / 1000 : null };
  }
}
