// The connection's measurement, from the page: starts the worker, and always comes to an end.

/** Longer than the worker's own deadlines together. */
const LONGEST_MS = 60_000;

/**
 * Starts the worker, so that its scripts come while the session is asked for: they take as many round trips.
 * @param {AbortSignal} signal ends it
 * @returns {{ worker: Worker, said: Promise<MessageEvent> } | null} with the first that it says
 */
export function begin(signal) {
  try {
    const worker = start(new URL('./network-worker.js', import.meta.url));
    signal.addEventListener('abort', () => worker.terminate(), { once: true });
    const said = new Promise((resolve, reject) => {
      worker.addEventListener('message', resolve, { once: true });
      worker.onerror = reject;
    });
    said.catch(() => {});
    return { worker, said };
  } catch {
    return null;
  }
}

/**
 * @param {{ url: string, certificate_sha256: string, grant: string, web_rtc: boolean, web_socket: boolean } | null} media
 * @param {{ begun: ReturnType<typeof begin>, webRtc: string, webSocket: string, ice: RTCIceServer[], packets: number, rung_bps: number|null, fill: boolean, signal: AbortSignal, onstrength: (seen: object) => void, onearly: (result: object) => Promise<object|null> }} how
 *   `onearly` is told what there is once it is enough for a first look, and says how far the connection may be filled; it is not always asked
 * @returns {Promise<object>} what the server is told; `relays` of it where they were tried
 */
export function measure(media, { begun, webRtc, webSocket, ice, packets, rung_bps, fill, signal, onstrength, onearly }) {
  if (!media) return Promise.resolve({ state: 'not_tested', reason: 'none' });
  const web_rtc = media.web_rtc && 'RTCPeerConnection' in window;
  if (!('WebTransport' in window) && !web_rtc && !media.web_socket) return Promise.resolve({ state: 'not_tested', reason: 'unsupported' });
  return new Promise((resolve) => {
    const began = performance.now();
    const peers = [];
    const finish = async (result, relays = null) => {
      clearTimeout(timer);
      begun?.worker.terminate();
      const measured = /rtc|turn/.test(result.way) ? peers.at(-1) : null;
      for (const peer of peers) peer?.then((made) => made.close(peer !== measured), () => {});
      // What the direct way would have taken.
      if (relays) relays.udp_ports = [Number(new URL(media.url).port || 443), await peers[0]?.then((made) => made.port, () => null)].filter(Boolean);
      resolve({ ...result, relays });
    };
    const broke = () => finish({ state: 'failed', reason: 'broke', after_ms: performance.now() - began });
    const timer = setTimeout(broke, LONGEST_MS);
    signal.addEventListener('abort', broke, { once: true });
    if (!begun) {
      broke();
      return;
    }
    const { worker, said } = begun;
    said.then(({ data }) => {
      if (data.ready) worker.postMessage({ ...media, packets, rung_bps, fill, web_rtc, web_socket: media.web_socket ? webSocket : null, relays: web_rtc ? ice.map(({ urls }) => urls[0]) : [] });
      else broke();
    }, broke);
    worker.onmessage = ({ data }) => {
      if (data.peer) {
        const { of, relay, grant = media.grant } = data.peer;
        peers[of] = import('./peer.js').then(({ connect }) => connect(worker, { url: webRtc, grant, of, relay: ice[relay] }));
        peers[of].catch(() => worker.postMessage({ of, refused: 'broke' }));
      }
      if (data.over) peers[data.over].then((made) => made.close(true), () => {});
      if (data.seen) onstrength(data.seen);
      if (data.early) onearly(data.early).catch(() => null).then((load) => worker.postMessage({ load }));
      if (data.done) finish(data.done, data.relays);
      if (data.failed) broke();
    };
    worker.onerror = broke;
  });
}

/** A worker may not be another site's file; it may import one. Not at its head: there, policies take it for a worker, too. */
function start(script) {
  if (script.origin === location.origin) return new Worker(script, { type: 'module' });
  const text = `import(${JSON.stringify(script.href)}).catch(() => self.postMessage({ failed: true }));`;
  const url = URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
  const worker = new Worker(url, { type: 'module' });
  // Not before it was fetched.
  setTimeout(() => URL.revokeObjectURL(url), 30_000);
  return worker;
}
