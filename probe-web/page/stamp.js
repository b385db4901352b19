// STAMP packets (RFC 8762, RFC 8972) as the endpoint takes them: authenticated, with the endpoint's own address check. See docs/PROTOCOL.md.

export const BASE = 112;
const TAG = 16;
const COVERED = 96;
/** From base to the end: Class of Service, Follow-Up Telemetry, nonce, HMAC. As long as an encrypted Opus packet at 64 kbit/s. */
const LENGTH = BASE + 8 + 20 + 24 + 20;
const NONCE_TLV = BASE + 8 + 20;
const HMAC_TLV = NONCE_TLV + 24;
const NTP_TO_UNIX_S = 2_208_988_800;
const ERA_S = 2 ** 32;

/** IPv4 and UDP headers around a packet: sizes are told as the IP layer has them. */
export const HEADERS = 28;
/** Numbers from here on are checks of the address, no audio. */
export const FIRST_PROBE = 2 ** 31;
export const PROBE = 1;
export const IN_STREAM = 2;
export const CHALLENGE = 3;

/** The keys of both directions, from the session's own. */
export async function keys(hex) {
  const secret = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
  const derive = async (label) => {
    const root = await hmacKey(secret);
    return hmacKey(await crypto.subtle.sign('HMAC', root, new TextEncoder().encode(label)));
  };
  return { up: await derive('greenroom/1 stamp up'), down: await derive('greenroom/1 stamp down') };
}

function hmacKey(octets) {
  return crypto.subtle.importKey('raw', octets, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
}

/**
 * A signed packet of the audio stream, or a check of the address.
 * @param {{ seq: number, unix_ms: number, ssid: number, kind: number, nonce: Uint8Array, key: CryptoKey }} wanted
 */
export async function packet({ seq, unix_ms, ssid, kind, nonce, key }) {
  const octets = base({ seq, unix_ms, ssid, length: LENGTH });
  tlv(octets, BASE, 4, 4);
  tlv(octets, BASE + 8, 7, 16);
  tlv(octets, NONCE_TLV, 252, 20);
  octets[NONCE_TLV + 4] = kind;
  octets.set(nonce, NONCE_TLV + 8);
  return sign(octets, HMAC_TLV, key);
}

/** What every packet begins with. */
export function base({ seq, unix_ms, ssid, length }) {
  const octets = new Uint8Array(length);
  const view = new DataView(octets.buffer);
  view.setUint32(0, seq);
  const seconds = Math.floor(unix_ms / 1000);
  view.setUint32(16, (seconds + NTP_TO_UNIX_S) % ERA_S);
  view.setUint32(20, Math.floor(((unix_ms - seconds * 1000) / 1000) * ERA_S));
  // A clock that nobody synchronizes, right to 2 x 2^(22 - 32) s.
  octets.set([22, 2], 24);
  view.setUint16(26, ssid);
  return octets;
}

/** Signs the TLVs up to the one for it, and the fixed part. */
export async function sign(octets, at, key) {
  tlv(octets, at, 8, TAG);
  octets.set(await tlvTag(octets, at, key), at + 4);
  octets.set(await tag(octets.subarray(0, COVERED), key), COVERED);
  return octets;
}

/** Whether both signatures are right. */
export async function verified(octets, at, key) {
  return octets[at + 1] === 8 && same(await tag(octets.subarray(0, COVERED), key), octets.subarray(COVERED, BASE))
    && same(await tlvTag(octets, at, key), octets.subarray(at + 4, at + 4 + TAG));
}

/** Writes the head of a TLV. */
export function tlv(octets, at, kind, length) {
  octets.set([0x80, kind, length >> 8, length & 0xff], at);
}

async function tag(octets, key) {
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, octets)).subarray(0, TAG);
}

function tlvTag(octets, at, key) {
  const covered = new Uint8Array(4 + at - BASE);
  covered.set(octets.subarray(0, 4));
  covered.set(octets.subarray(BASE, at), 4);
  return tag(covered, key);
}

/**
 * Reads a reply; `null` when it is not signed by the endpoint.
 * @param {Uint8Array} octets
 * @param {CryptoKey} key
 * @param {number} anchor_unix_us the endpoint's wall clock at zero of its times
 */
export async function reply(octets, key, anchor_unix_us) {
  if (octets.length !== LENGTH || !await verified(octets, HMAC_TLV, key)) return null;
  const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  const point = (at) => micros(view.getUint32(at), view.getUint32(at + 4)) - anchor_unix_us;
  return {
    seq: view.getUint32(0),
    sent_us: point(16),
    received_us: point(32),
    of: view.getUint32(48),
    kind: octets[NONCE_TLV + 4],
    nonce: octets.slice(NONCE_TLV + 8, NONCE_TLV + 24),
  };
}

/** Microseconds of Unix time; the era of NTP that began in 1900 ends in 2036. */
function micros(seconds, fraction) {
  const whole = seconds < ERA_S / 2 ? seconds + ERA_S : seconds;
  return (whole - NTP_TO_UNIX_S) * 1_000_000 + Math.floor((fraction * 1_000_000) / ERA_S);
}

function same(a, b) {
  let difference = 0;
  for (let i = 0; i < TAG; i += 1) difference |= a[i] ^ b[i];
  return difference === 0;
}
