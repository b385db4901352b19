// The last good result, per set of devices and network: who comes back with the same need not do it all again.

const KEY = 'greenroom-check';
/** So many are kept, for so long. */
const MOST = 8;
const LASTS_MS = 30 * 24 * 3_600_000;
/** The last check in this tab: what a call after it is linked to (`monitor-report.js`). */
const LAST = 'greenroom-check-last';

/** A name for the devices that are there; `null` where the browser does not name them yet. */
export async function devicesNow() {
  try {
    const all = await navigator.mediaDevices.enumerateDevices();
    const named = all.filter(({ deviceId }) => deviceId !== '').map(({ kind, deviceId, label }) => `${kind} ${deviceId} ${label}`);
    return named.length > 0 ? await digest(named.sort().join('\n')) : null;
  } catch {
    return null;
  }
}

async function digest(text) {
  const octets = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return Array.from(octets.subarray(0, 8), (octet) => octet.toString(16).padStart(2, '0')).join('');
}

/** What is kept and still counts. A browser that keeps nothing for pages has nothing. */
function all() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(kept) ? kept.filter(({ at }) => Date.now() - at < LASTS_MS && at <= Date.now()) : [];
  } catch {
    return [];
  }
}

export const isEmpty = () => all().length === 0;

/** The last good result with these devices on this network. */
export function recall(devices, network) {
  if (!devices || !network) return null;
  return all().find((kept) => kept.devices === devices && kept.network === network) ?? null;
}

/** Keeps a good result; a bad one takes the good one's place away. */
export function remember({ devices, network, good, chosen, want }) {
  if (!devices || !network) return;
  const others = all().filter((kept) => kept.devices !== devices || kept.network !== network);
  const kept = good ? [{ devices, network, chosen, want, at: Date.now() }, ...others] : others;
  try {
    localStorage.setItem(KEY, JSON.stringify(kept.slice(0, MOST)));
  } catch {
    // Then it is not remembered.
  }
}

/** Keeps which report the last check in this tab made, good or bad. */
export function keepReport({ id, code }) {
  try {
    sessionStorage.setItem(LAST, JSON.stringify({ id, code }));
  } catch {
    // Then a call is not linked to it by itself.
  }
}
