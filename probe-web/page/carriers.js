// What carries control frames and packets: WebTransport here; peer.js has WebRTC, and socket.js what is left where UDP gets nowhere. All look the
// same to what measures.

import { within } from './time.js';

/** The browser itself gives up an address that does not answer after four seconds. */
const OPEN_MS = 8_000;
const ANSWER_MS = 4_000;
const LONGEST_FRAME = 262_144;

/** Kinds of control frames that every session has. See docs/PROTOCOL.md. */
export const [HELLO, ACCEPT, FINISH, FINISHED] = [1, 2, 6, 7];

/** By QUIC: packets are datagrams. */
export class ByWebTransport {
  way = 'webtransport';

  static async open({ url, certificate_sha256 }) {
    const value = Uint8Array.from(certificate_sha256.match(/../g), (pair) => parseInt(pair, 16));
    const transport = new WebTransport(url, { serverCertificateHashes: [{ algorithm: 'sha-256', value }] });
    transport.closed.catch(() => {});
    try {
      await within(transport.ready, OPEN_MS);
    } catch (error) {
      transport.close();
      throw error;
    }
    return new ByWebTransport(transport);
  }

  constructor(transport) {
    this.transport = transport;
    const { datagrams } = transport;
    // By default the browser drops what it cannot send at once and keeps one that came: losses of its own making.
    const wanted = { outgoingMaxAge: 10_000, outgoingMaxBufferedDatagrams: 1_000, outgoingHighWaterMark: 1_000, incomingMaxAge: 10_000, incomingMaxBufferedDatagrams: 1_000, incomingHighWaterMark: 1_000 };
    for (const [name, value] of Object.entries(wanted)) if (name in datagrams) datagrams[name] = value;
    const writable = datagrams.writable ?? datagrams.createWritable();
    this.packets = writable.getWriter();
    this.incoming = datagrams.readable.getReader();
  }

  /** Begins the control stream; its frames as they come. */
  async control() {
    const stream = await within(this.transport.createBidirectionalStream(), ANSWER_MS);
    this.writer = stream.writable.getWriter();
    return frames(chunks(stream.readable));
  }

  write(octets) {
    return this.writer.write(octets);
  }

  /** Waits until the browser takes a packet, and calls `now` right before it is handed over. */
  async send(octets, now) {
    await within(this.packets.ready, ANSWER_MS);
    const at = now();
    this.packets.write(octets).catch(() => {});
    return at;
  }

  /** The next packet; `null` at the end. */
  async receive() {
    const { value, done } = await this.incoming.read();
    return done ? null : value;
  }

  close() {
    try {
      this.transport.close();
    } catch {
      // It has closed by itself.
    }
  }
}

/** What has come and was not yet taken; `null` is its end. */
export class Queue {
  #waiting = [];
  #taker = null;
  #over = false;

  put(item) {
    if (this.#over) return;
    this.#over = item === null;
    if (this.#taker) this.#taker(item);
    else this.#waiting.push(item);
    this.#taker = null;
  }

  take() {
    if (this.#waiting.length > 0) return Promise.resolve(this.#waiting.shift());
    if (this.#over) return Promise.resolve(null);
    return new Promise((resolve) => { this.#taker = resolve; });
  }

  async* all() {
    for (let item = await this.take(); item !== null; item = await this.take()) yield item;
  }
}

async function* chunks(readable) {
  const reader = readable.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** Cuts what comes into frames: length, type, content. */
export async function* frames(source) {
  let rest = new Uint8Array(0);
  for await (const value of source) {
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    rest = joined;
    while (rest.length >= 4) {
      const length = new DataView(rest.buffer, rest.byteOffset).getUint32(0);
      if (length === 0 || length > LONGEST_FRAME) throw new Error('not the control protocol');
      if (rest.length < 4 + length) break;
      yield { kind: rest[4], payload: rest.slice(5, 4 + length) };
      rest = rest.slice(4 + length);
    }
  }
}

/** A frame of the control stream whose content is JSON. */
export function frame(kind, message) {
  const payload = new TextEncoder().encode(JSON.stringify(message));
  const octets = new Uint8Array(5 + payload.length);
  new DataView(octets.buffer).setUint32(0, payload.length + 1);
  octets[4] = kind;
  octets.set(payload, 5);
  return octets;
}

/** What a session begins with: what lets this page in, and what it wants. */
export function hello(token, more) {
  return frame(HELLO, { versions: [1], token, client: { name: 'greenroom-check', version: '1' }, probes: 'quic_datagrams', ...more });
}

export function base64(octets) {
  let text = '';
  for (const octet of octets) text += String.fromCharCode(octet);
  return btoa(text);
}
