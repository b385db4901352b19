// The connection's measurement, from the page: starts the worker, and always comes to an end.

/** Longer than the worker's own deadlines together. */
const LONGEST_MS = 40_000;

/**
 * @param {{ url: string, certificate_sha256: string, grant: string } | null} media
 * @returns {Promise<object>} what the server is told
 */
export function measure(media) {
  if (!media) return Promise.resolve({ state: 'not_tested', reason: 'none' });
  if (!('WebTransport' in window)) return Promise.resolve({ state: 'not_tested', reason: 'unsupported' });
  return new Promise((resolve) => {
    const began = performance.now();
    const worker = new Worker(new URL('./network-worker.js', import.meta.url), { type: 'module' });
    const finish = (result) => {
      clearTimeout(timer);
      worker.terminate();
      resolve(result);
    };
    const broke = () => finish({ state: 'failed', reason: 'broke', after_ms: performance.now() - began });
    const timer = setTimeout(broke, LONGEST_MS);
    worker.onmessage = ({ data }) => finish(data.done);
    worker.onerror = broke;
    worker.postMessage(media);
  });
}
