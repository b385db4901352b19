// A WebRTC connection to the endpoint, for browsers without WebTransport and where QUIC gets nowhere; loaded there alone. Browsers have these
// connections on pages only: the worker that measures is handed the channels, or, where it cannot have them, what they carry, with the
// page's own times.

import { Queue, frames } from './carriers.js';
import { within } from './time.js';

const ANSWER_MS = 4_000;
/** From the offer on: it is posted, then come ICE, DTLS and SCTP, some six round trips in all. */
const OPEN_MS = 5_000;
/** The same through a relay, before that ends: why nothing came through is known here. */
const RELAYED_MS = 4_500;
export const CONTROL = { negotiated: true, id: 0 };
/** Nothing is sent again, nothing waits for what was lost: as UDP has it. */
export const PACKETS = { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 };
const SDP = { 'Content-Type': 'application/sdp' };

/** Milliseconds of Unix time by the clock that all of a page's parts share. */
const clock = () => performance.timeOrigin + performance.now();

/**
 * On the page: connects, and gives the worker its channels.
 * @param {Worker} worker
 * @param {{ url: string, grant: string, of: number, relay?: RTCIceServer }} where `of` numbers it; through a relay alone where one is named
 * @returns {Promise<{ port: number, close(early: boolean): void }>} with the endpoint's port
 */
export async function connect(worker, { url, grant, of, relay }) {
  const connection = new RTCPeerConnection(relay ? { iceServers: [relay], iceTransportPolicy: 'relay' } : {});
  try {
    if (relay) watch(connection, (refused) => worker.postMessage({ of, refused }));
    const channels = [connection.createDataChannel('control', CONTROL), connection.createDataChannel('probes', PACKETS)];
    try {
      // Now or never: a channel that has begun stays where it is.
      worker.postMessage({ of, channels }, channels);
    } catch {
      const ports = channels.map(keep);
      worker.postMessage({ of, ports }, ports);
    }
    return await agree(connection, { url, grant });
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** Tells why a relay lets nothing through: its own word, or that none came. */
function watch(connection, tell) {
  let found = false;
  connection.onicecandidate = ({ candidate }) => { found ||= candidate?.type === 'relay'; };
  // From 700 on it is the browser's word on one of the ways to the relay (RFC 8489 section 14.8, W3C WebRTC section 4.8.3).
  connection.onicecandidateerror = ({ errorCode }) => { if (errorCode >= 300 && errorCode < 700) tell(errorCode === 401 || errorCode === 441 ? 'credentials' : 'declined'); };
  connection.onicegatheringstatechange = () => { if (connection.iceGatheringState === 'complete' && !found) tell('blocked'); };
  // Nobody listens any more once the channels are open.
  setTimeout(() => tell(found ? 'nothing_through' : 'blocked'), RELAYED_MS);
}

/**
 * Offers what a connection has, and takes the answer.
 * @param {RTCPeerConnection} connection
 * @param {{ url: string, grant: string }} where
 * @returns {Promise<{ port: number, close(early: boolean): void }>} with the endpoint's port
 */
export async function agree(connection, { url, grant }) {
  await connection.setLocalDescription();
  const body = connection.localDescription.sdp;
  const headers = { ...SDP, Authorization: `Bearer ${grant}` };
  const response = await fetch(url, { method: 'POST', headers, body, credentials: 'omit', signal: AbortSignal.timeout(ANSWER_MS) });
  const sdp = await response.text();
  if (!response.ok) throw new Error(`no answer to the offer: ${response.status}`);
  await connection.setRemoteDescription({ type: 'answer', sdp });
  const session = new URL(response.headers.get('Location'), response.url);
  return {
    port: Number(/^a=candidate:(?:\S+ ){5}(\d+)/m.exec(sdp)?.[1]),
    close(early) {
      connection.close();
      // A session that came to its end is over there, too.
      if (early) fetch(session, { method: 'DELETE', credentials: 'omit', keepalive: true }).catch(() => {});
    },
  };
}

/** Keeps a channel on the page; a port to it. */
function keep(channel) {
  const { port1: port, port2 } = new MessageChannel();
  channel.binaryType = 'arraybuffer';
  channel.onopen = () => port.postMessage({ open: true });
  channel.onclose = () => port.postMessage({ over: true });
  channel.onmessage = ({ data }) => port.postMessage({ data, at: clock() }, [data]);
  port.onmessage = async ({ data }) => {
    try {
      await room(channel);
      const at = clock();
      channel.send(data);
      port.postMessage({ at });
    } catch {
      port.postMessage({ over: true });
    }
  };
  return port2;
}

/** Waits until a channel has nothing left that it has not yet sent. */
async function room(channel) {
  while (channel.readyState === 'open' && channel.bufferedAmount > 0) {
    await within(new Promise((resolve) => { channel.onbufferedamountlow = resolve; }), ANSWER_MS);
  }
}

/** In the worker: a channel that the page keeps. It tells when the page sent and received. */
class Kept {
  readyState = 'connecting';
  bufferedAmount = 0;
  #sent = () => {};

  constructor(port) {
    this.port = port;
    port.onmessage = ({ data: { open, over, data, at } }) => {
      if (open) {
        this.readyState = 'open';
        this.onopen?.();
      } else if (over) {
        this.readyState = 'closed';
        this.onclose?.();
      } else if (data) this.onmessage?.({ data, at });
      else this.#sent(at);
    };
  }

  send(octets) {
    this.port.postMessage(octets);
    return within(new Promise((resolve) => { this.#sent = resolve; }), ANSWER_MS);
  }
}

/** In the worker: by a connection of the page; packets are messages of a channel that sends nothing again. */
export class ByWebRtc {
  way = 'webrtc';

  /** @param {{ channels?: RTCDataChannel[], ports?: MessagePort[] }} handed by the page */
  static async open({ channels, ports }) {
    const [control, packets] = channels ?? ports.map((port) => new Kept(port));
    // One that is closed before is told of by the page, which knows why.
    const opened = [control, packets].map((channel) => new Promise((resolve) => {
      if (channel.readyState === 'open') resolve();
      channel.onopen = resolve;
    }));
    await within(Promise.all(opened), OPEN_MS);
    return new ByWebRtc(control, packets, !channels);
  }

  constructor(control, packets, kept) {
    this.on_page = kept;
    this.channel = packets;
    this.writer = control;
    this.packets = new Queue();
    this.octets = new Queue();
    for (const [channel, queue] of [[control, this.octets], [packets, this.packets]]) {
      channel.binaryType = 'arraybuffer';
      channel.onmessage = ({ data, at }) => queue.put(Object.assign(new Uint8Array(data), { came: at }));
      channel.onclose = () => queue.put(null);
    }
  }

  async control() {
    return frames(this.octets.all());
  }

  write(octets) {
    return this.writer.send(octets);
  }

  async send(octets, now) {
    await room(this.channel);
    const at = now();
    const kept = await this.channel.send(octets);
    return kept === undefined ? at : now(kept);
  }

  receive() {
    return this.packets.take();
  }

  close() {
    // The page closes its connection.
  }
}
