// Waiting that always ends.

/**
 * The promise, or a rejection named `TimeoutError`.
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @returns {Promise<T>}
 */
export function within(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new DOMException(`nothing came within ${ms} ms`, 'TimeoutError')), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * The promise, or a rejection as soon as the signal is given. What comes after that nobody waits for.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export function unless(promise, signal) {
  promise.catch(() => {});
  let stopped;
  const aborted = new Promise((_, reject) => {
    stopped = () => reject(signal.reason);
    if (signal.aborted) stopped();
    signal.addEventListener('abort', stopped);
  });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', stopped));
}

/** @param {number} ms */
export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** A promise and what settles it: younger browsers have it as `Promise.withResolvers`. */
export function resolvers() {
  let resolve;
  const promise = new Promise((settle) => { resolve = settle; });
  return { promise, resolve };
}
