// The application's own files, fetched before the call so that they are there when it begins: which came, and how long each took.

import { pause, resolvers, within } from './time.js';

/** So many are fetched, at most. */
const MOST = 32;
/** How long all that is left may take once the connection was measured. */
const FINISH_MS = 10_000;
/** How long the browser's own entry about a file is awaited. */
const ENTRY_MS = 500;

/**
 * Fetches files, as `<greenroom-check assets="…">` does while nothing is measured. Nothing is fetched where the browser was asked to save data.
 *
 * What comes is kept by the browser's cache, if its headers let it. Each is asked for with CORS, as module scripts are, and if that is
 * refused without, as other scripts are.
 */
export class WarmUp {
  #files;
  #hold = new AbortController();
  #running = null;

  /** @param {string[]} urls relative to the page */
  constructor(urls) {
    this.#files = [...new Set(urls.map(address).filter(Boolean))].slice(0, MOST).map((url) => ({ url, found: null }));
  }

  /** Fetches what has not come yet. */
  begin() {
    if (navigator.connection?.saveData) return;
    this.#hold.abort();
    this.#hold = new AbortController();
    const { signal } = this.#hold;
    const left = this.#files.filter(({ found }) => found === null);
    this.#running = Promise.all(left.map(async (file) => { file.found = await fetched(file.url, signal) ?? file.found; }));
  }

  /** Nothing is under way from now on: what has not come is fetched later. */
  hold() {
    this.#hold.abort();
    for (const file of this.#files) if (file.found?.outcome !== 'loaded') file.found = null;
  }

  /**
   * Fetches the rest, as far as there is time.
   * @param {Promise<void>|null} enough ends it before; `null`: nothing more is fetched
   */
  async finish(enough) {
    if (!enough) return this.told();
    this.begin();
    const running = this.#running;
    const hold = this.#hold;
    const over = await Promise.race([running, enough.then(() => null), pause(FINISH_MS).then(() => 'timeout')]);
    hold.abort();
    await running;
    if (over === 'timeout') for (const file of this.#files) file.found ??= nothing(over);
    return this.told();
  }

  /** @returns {import('./greenroom-check.js').Asset[]} */
  told() {
    return this.#files.map(({ url, found }) => ({ url: shown(url), ...found ?? nothing('unfinished') }));
  }
}

/** The rest of what an application named, or has begun to fetch by itself. */
export const finish = (assets, enough) => (assets instanceof WarmUp ? assets : new WarmUp(assets)).finish(enough);

/** `null` where it is no address of the web. */
function address(text) {
  try {
    const url = new URL(text, document.baseURI);
    // Nobody fetches with these.
    Object.assign(url, { username: '', password: '', hash: '' });
    return /^https?:$/.test(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** Without what stands behind `?`, which may be somebody's secret. */
function shown(href) {
  const { origin, pathname } = new URL(href);
  return `${origin}${pathname}`.slice(0, 200);
}

const nothing = (outcome) => ({ outcome, status: null, took_ms: null, octets: null, cached: null, protocol: null });

/** One file; `null` when it was held. */
async function fetched(url, signal) {
  let began = performance.now();
  const took = (found) => ({ ...nothing('loaded'), took_ms: performance.now() - began, ...found });
  let banned = false;
  const hear = (violation) => { banned ||= violation.disposition === 'enforce' && violation.blockedURI === url; };
  document.addEventListener('securitypolicyviolation', hear);
  try {
    const found = await read(url, signal).catch(() => null);
    if (found) return took(found);
    began = performance.now();
    if (!signal.aborted && await preload(url, signal)) return took({});
    // The browser tells of a policy in a task of its own.
    await pause(0);
    return signal.aborted ? null : took({ outcome: banned ? 'policy' : 'failed' });
  } finally {
    document.removeEventListener('securitypolicyviolation', hear);
  }
}

/** Reads it to its end, as far as its site lets this page. */
async function read(url, signal) {
  const began = performance.now();
  const { seen, end } = entry(url, began);
  try {
    const response = await fetch(url, { signal, priority: 'low', credentials: new URL(url).origin === location.origin ? 'same-origin' : 'omit' });
    let octets = 0;
    for (const reader = response.body?.getReader(); reader;) {
      const { value, done } = await reader.read();
      if (done) break;
      octets += value.length;
    }
    const took_ms = performance.now() - began;
    const timed = await within(seen, ENTRY_MS).catch(() => null);
    return { outcome: response.ok ? 'loaded' : 'refused', status: response.status, took_ms, octets, ...way(timed) };
  } finally {
    end();
  }
}

/** Has the browser load what is not this page's to read, as it would for a `<script>`; whether it came. */
function preload(url, signal) {
  const link = Object.assign(document.createElement('link'), { rel: 'preload', as: 'script', href: url });
  return new Promise((resolve) => {
    link.onload = () => resolve(true);
    link.onerror = () => resolve(false);
    signal.addEventListener('abort', () => resolve(false), { once: true });
    document.head.append(link);
  }).finally(() => link.remove());
}

/** What the browser itself tells of a file that was asked for after a point in time. */
function entry(url, began) {
  const { promise, resolve } = resolvers();
  const observer = new PerformanceObserver((list) => {
    const found = list.getEntriesByName(url).find(({ startTime }) => startTime >= began - 1);
    if (found) resolve(found);
  });
  observer.observe({ type: 'resource' });
  return { seen: promise, end: () => observer.disconnect() };
}

/** Whether it came from the cache, and over which protocol; `null` where the file's site does not let it be known. */
function way(timed) {
  const isTold = timed?.encodedBodySize > 0;
  return { cached: isTold ? timed.transferSize < timed.encodedBodySize : null, protocol: timed?.nextHopProtocol || null };
}
