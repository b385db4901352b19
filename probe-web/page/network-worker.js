// Measures the connection, in a worker: the page's own work and a hidden tab do not delay it. It measures only; the server judges.

import { CHALLENGE, FIRST_PROBE, HEADERS, IN_STREAM, PROBE, VALIDATED, keys, packet, reply } from './stamp.js';
import { pause, within } from './time.js';

const INTERVAL_MS = 20;
/** Six seconds: while the devices are looked at it costs no time, and it shows a loss of some percent. */
const PACKETS = 300;
/** The browser itself gives up an address that does not answer after four seconds. */
const OPEN_MS = 8_000;
const ANSWER_MS = 4_000;
/** A packet that is later than this is not sent any more: the computer slept. */
const MOST_LATE_MS = 250;
/** How long stragglers are awaited. */
const DRAIN_MS = 1_000;
const LIMITS = { max_bitrate_bps: 200_000, max_pps: 100, max_duration_us: 30_000_000 };
const HELLO = 1;
const ACCEPT = 2;
const REFUSE = 3;
const FINISH = 6;
const FINISHED = 7;
const HALF_TRACE = 16;

const zero = performance.now();
/** Microseconds since the worker began. */
const now = () => Math.round((performance.now() - zero) * 1000);

self.onmessage = async ({ data }) => {
  self.postMessage({ done: await measure(data) });
};

async function measure({ url, certificate_sha256, grant }) {
  const failed = (reason) => ({ state: 'failed', reason, after_ms: now() / 1000 });
  if (typeof WebTransport !== 'function') return { state: 'not_tested', reason: 'unsupported' };
  let transport;
  try {
    const value = Uint8Array.from(certificate_sha256.match(/../g), (pair) => parseInt(pair, 16));
    transport = new WebTransport(url, { serverCertificateHashes: [{ algorithm: 'sha-256', value }] });
    transport.closed.catch(() => {});
    await within(transport.ready, OPEN_MS);
  } catch {
    return failed('unreachable');
  }
  try {
    return await session(transport, grant);
  } catch (error) {
    return failed(error instanceof Refused ? 'refused' : 'broke');
  } finally {
    try {
      transport.close();
    } catch {
      // It has closed by itself.
    }
  }
}

class Refused extends Error {}

async function session(transport, grant) {
  const control = await within(transport.createBidirectionalStream(), ANSWER_MS);
  const writer = control.writable.getWriter();
  const frames = read(control.readable);
  const hello = {
    versions: [1],
    token: grant,
    client: { name: 'greenroom-check', version: '1' },
    wants: LIMITS,
    probes: 'quic_datagrams',
  };
  await within(writer.write(frame(HELLO, hello)), ANSWER_MS);
  const first = (await within(frames.next(), ANSWER_MS)).value;
  if (first?.kind === REFUSE) throw new Refused();
  if (first?.kind !== ACCEPT) throw new Error('no answer to hello');
  const accept = JSON.parse(new TextDecoder().decode(first.payload));
  const run = new Run(transport.datagrams, accept, await keys(accept.key));
  const there = [];
  const log = collect(frames, there);
  await run.validate();
  const setup_ms = now() / 1000;
  await run.audio();
  const complete = await ended(writer, log);
  run.over = true;
  return {
    state: 'measured', setup_ms, planned: PACKETS, sent: run.sent, received: run.received, corrupt: run.corrupt,
    covered_until_us: run.covered_until_us, complete: complete && run.sent.length === PACKETS, stalled_us: run.stalled_us, there,
  };
}

/** Asks for the rest of the endpoint's log; whether it came. */
async function ended(writer, log) {
  try {
    await within(writer.write(frame(FINISH, {})), ANSWER_MS);
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
  nonce = new Uint8Array(16);
  validated = null;

  constructor(datagrams, accept, { up, down }) {
    // By default the browser drops what it cannot send at once and keeps one that came: losses of its own making.
    const wanted = { outgoingMaxAge: 10_000, outgoingMaxBufferedDatagrams: 1_000, outgoingHighWaterMark: 1_000, incomingMaxAge: 10_000, incomingMaxBufferedDatagrams: 1_000, incomingHighWaterMark: 1_000 };
    for (const [name, value] of Object.entries(wanted)) if (name in datagrams) datagrams[name] = value;
    const writable = datagrams.writable ?? datagrams.createWritable();
    this.writer = writable.getWriter();
    this.accept = accept;
    [this.up, this.down] = [up, down];
    this.heard = new Promise((resolve) => { this.validated = resolve; });
    this.listening = this.listen(datagrams.readable.getReader());
  }

  packet(seq, kind, at_us) {
    const unix_ms = performance.timeOrigin + zero + at_us / 1000;
    return packet({ seq, unix_ms, ssid: this.accept.ssid, kind, nonce: this.nonce, key: this.up });
  }

  async listen(reader) {
    while (!this.over) {
      const { value, done } = await reader.read();
      const at = now();
      if (done) return;
      const said = await reply(value, this.down, this.accept.anchor_unix_us);
      if (said === null) this.corrupt += 1;
      else this.take(said, at, value.length);
    }
  }

  take(said, at, length) {
    if (said.kind === CHALLENGE) this.nonce = said.nonce;
    if (said.kind === VALIDATED) this.validated(true);
    if (said.of >= FIRST_PROBE) return;
    this.received.push([said.seq, at, length + HEADERS, said.of, said.received_us, said.sent_us]);
  }

  /** Shows the endpoint that what it sends to this address is wanted. */
  async validate() {
    this.listening.catch(() => {});
    const until = now() + ANSWER_MS * 1000;
    for (let probe = 0; now() < until; probe += 1) {
      await this.send(await this.packet(FIRST_PROBE + probe, PROBE, now()));
      const heard = await Promise.race([this.heard, pause(50)]);
      if (heard) return;
    }
    throw new Error('no datagram came back');
  }

  /** Sends the audio stream, and waits for what is still on its way. */
  async audio() {
    const begin = now() + INTERVAL_MS * 1000;
    for (let seq = 0; seq < PACKETS; seq += 1) {
      const intended = begin + seq * INTERVAL_MS * 1000;
      // Made beforehand: signing is not to delay it.
      const octets = await this.packet(seq, IN_STREAM, intended);
      const wait = (intended - now()) / 1000;
      if (wait > 0) await pause(wait);
      if (now() - intended > MOST_LATE_MS * 1000) {
        this.sent.push([intended, null, octets.length + HEADERS]);
        continue;
      }
      const at = await this.send(octets);
      this.sent.push([intended, at, octets.length + HEADERS]);
    }
    const until = now() + DRAIN_MS * 1000;
    const heard = () => new Set(this.received.map((record) => record[3])).size;
    const wanted = this.sent.filter((record) => record[1] !== null).length;
    while (now() < until && heard() < wanted) await pause(20);
    this.covered_until_us = now();
  }

  /** Hands a datagram to the browser once it takes one; when that was. */
  async send(octets) {
    const asked = now();
    await within(this.writer.ready, ANSWER_MS);
    const at = now();
    this.stalled_us = Math.max(this.stalled_us, at - asked);
    this.writer.write(octets).catch(() => {});
    return at;
  }
}

/** A frame of the control stream: length, type, JSON. */
function frame(kind, message) {
  const payload = new TextEncoder().encode(JSON.stringify(message));
  const octets = new Uint8Array(5 + payload.length);
  new DataView(octets.buffer).setUint32(0, payload.length + 1);
  octets[4] = kind;
  octets.set(payload, 5);
  return octets;
}

/** The frames that come. */
async function* read(readable) {
  const reader = readable.getReader();
  let rest = new Uint8Array(0);
  for (;;) {
    while (rest.length >= 4) {
      const length = new DataView(rest.buffer, rest.byteOffset).getUint32(0);
      if (length === 0 || length > 262_144) throw new Error('not the control protocol');
      if (rest.length < 4 + length) break;
      yield { kind: rest[4], payload: rest.slice(5, 4 + length) };
      rest = rest.slice(4 + length);
    }
    const { value, done } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    rest = joined;
  }
}

function base64(octets) {
  let text = '';
  for (const octet of octets) text += String.fromCharCode(octet);
  return btoa(text);
}
