// Where the direct way fails: each relay by itself and the WebSocket, beside each other for a moment. What is measured then goes by the best of them.
// It runs in the worker.

import { ByWebSocket } from './socket.js';

/** Half a second of a call's packets. */
const TRIAL = 25;
/** As calls prefer them: those of the same rank by their round trip. */
const RANK = { 'turn-udp': 0, 'turn-tcp': 1, 'turn-tls': 1, websocket: 2 };
/** RFC 7065. A relay without a transport is one over UDP, as browsers have it. */
const RELAY = /^(turns?):(\[[^\]]+\]|[^:?]+)(?::(\d+))?(?:\?transport=(\w+))?$/i;

/**
 * @param {{ relays: string[], grants: string[], web_socket: string | null }} media a grant for each relay, one for the WebSocket, one for the best of them
 * @param {(peer: object) => Promise<object>} openPeer
 * @param {(carrier: object, grant: string, packets: number) => Promise<object>} session
 * @returns {Promise<{ carrier: object | null, grant: string, relays: { ways: object[] } }>} what carries the measurement, and what became of each
 */
export async function best({ relays, grants, grant, web_socket }, openPeer, session) {
  const ways = relays.map((url, relay) => ({ ...named(url), relay }));
  if (web_socket) ways.push({ ...socketAt(web_socket), url: web_socket });
  const tried = await Promise.all(ways.map((way, n) => trial(way, { of: n + 1, relay: way.relay, grant: grants[n] }, openPeer, session)));
  const told = { ways: tried.map(({ relay, url, ...way }) => way) };
  const [first] = tried.filter(({ outcome }) => outcome === 'works').sort((a, b) => RANK[a.way] - RANK[b.way] || a.rtt_ms - b.rtt_ms);
  if (first?.relay === undefined) return { carrier: null, grant, relays: told };
  const last = { of: ways.length + 1, relay: first.relay, grant: grants.at(-1) };
  const carrier = await openPeer(last).catch(() => null);
  if (!carrier) return { carrier, grant, relays: told };
  carrier.way = first.way;
  return { carrier, grant: last.grant, relays: told };
}

async function trial({ url, ...way }, peer, openPeer, session) {
  const began = performance.now();
  const told = { ...way, outcome: 'blocked', setup_ms: null, rtt_ms: null, trips: [] };
  let carrier = null;
  try {
    carrier = await (url ? ByWebSocket.open(url) : openPeer(peer));
    told.setup_ms = performance.now() - began;
    told.outcome = 'broke';
    const { sent, received } = await session(carrier, peer.grant, TRIAL);
    const came = new Map(received.map(([, at, , of]) => [of, at]));
    told.trips = sent.flatMap(([, at], of) => (at === null ? [] : [[at, came.has(of) ? Math.max(0, came.get(of) - at) : null]]));
    const answered = told.trips.map(([, trip]) => trip).filter((trip) => trip !== null).sort((a, b) => a - b);
    if (answered.length > 0) Object.assign(told, { outcome: 'works', rtt_ms: answered[answered.length >> 1] / 1000 });
  } catch ({ refused }) {
    told.outcome = refused ?? told.outcome;
  } finally {
    carrier?.close();
    if (!url) self.postMessage({ over: peer.of });
  }
  return told;
}

function named(url) {
  const [, scheme, host, port, transport = 'udp'] = RELAY.exec(url);
  const encrypted = scheme.toLowerCase() === 'turns';
  return { way: encrypted ? 'turn-tls' : `turn-${transport.toLowerCase()}`, host, port: Number(port ?? (encrypted ? 5349 : 3478)) };
}

function socketAt(url) {
  const { protocol, hostname, port } = new URL(url);
  return { way: 'websocket', host: hostname, port: Number(port || (protocol === 'wss:' ? 443 : 80)) };
}
