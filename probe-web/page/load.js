// What is sent beside the audio packets, in the worker: video at the rate of a call, both ways, and as much as the connection carries, one
// way after the other. Loaded where there is WebTransport.

import { base64, frame } from './carriers.js';
import { BASE, HEADERS, base, sign, tlv, verified } from './stamp.js';
import { pause, within } from './time.js';

/** A one-way packet's TLVs: Media, HMAC, padding. */
const MEDIA = 253;
const MEDIA_TLV = BASE;
const MEDIA_HMAC_TLV = MEDIA_TLV + 16;
const MEDIA_PADDING = MEDIA_HMAC_TLV + 20;
const START_STREAM = 4;
const STOP_STREAM = 5;
const UP = 1;
const DOWN = 2;
const FRAMES_A_SECOND = 30;
const KEY_INTERVAL = 60;
const KEY_SIZE = 4;
const MOST_OCTETS = 1_200;
const LEAST_OCTETS = 200;
/** A frame's packets leave at so many times the stream's rate. */
const HASTE = 2.5;
/** A packet that is later than this is not sent any more. */
const MOST_LATE_US = 250_000;
/** Answers that are this late show a queue that grows. What waits in the browser would hold up whatever comes after. */
const MOST_BEHIND_US = 1_000_000;
const LOOK_MS = 100;

/** Packets a second of video, at most: a frame's last one is not full. */
const videoPps = (rate_bps) => Math.ceil(rate_bps / 8 / MOST_OCTETS) + 2 * FRAMES_A_SECOND;
/** The most that is looked for, where the endpoint has it. */
const SEARCH = { max_bitrate_bps: 200_000_000, max_pps: 20_000 };
/** Audio is alone for so long, then video comes in. */
const ALONE_US = 1_500_000;
/** Packets of audio that a first look needs, as long as it takes them: with them it comes within six seconds. */
const FIRST = 240;
const AUDIO_US = 20_000;
/** How long what is not yet answered is awaited before the first look, at most. */
const FIRST_DRAIN_MS = 200;
const DRAIN_LOOK_MS = 20;
/** How long the page may take to say whether there is to be more. */
const WORD_MS = 12_000;

/** All that goes on beside the audio. */
export class Beside {
  #rung = null;
  #load = null;

  /** @param {{ rung_bps: number|null, fill: boolean }} wanted */
  constructor({ rung_bps, fill }) {
    this.rate_bps = rung_bps;
    this.fill = fill;
  }

  /** What the endpoint is asked for beyond what audio needs. */
  hello({ max_bitrate_bps, max_pps, ...wants }) {
    const video = this.rate_bps ?? 0;
    const search = this.fill ? { search: SEARCH } : {};
    return { wants: { ...wants, max_bitrate_bps: max_bitrate_bps + video, max_pps: max_pps + (video && videoPps(video)) }, ...search };
  }

  /** Takes a packet that is one of video. */
  async take(run, octets, at) {
    if (!isMedia(octets)) return false;
    const said = await media(octets, run.down);
    if (said === null) run.corrupt += 1;
    else if (said.stream === DOWN) this.#rung?.received.push([said.seq, at, octets.length + HEADERS]);
    return true;
  }

  /** Video, then a first look, then as much as goes, if the page says so. */
  async play(run, sending, word, tell) {
    await Promise.race([this.#first(run), sending]);
    tell();
    const { load } = await within(word.take(), WORD_MS).catch(() => ({ load: null }));
    if (!load) return;
    run.filled = true;
    await this.#rung?.over;
    this.#load = { ...await both(run, load), granted_bps: run.accept.limits.max_bitrate_bps };
  }

  async #first(run) {
    const packets = Math.min(run.packets, FIRST);
    const until = run.begin + packets * AUDIO_US;
    if (this.rate_bps) {
      this.#rung = new Rung(run, this.rate_bps);
      await this.#rung.play(run.begin + ALONE_US, until);
    }
    await pause((until - run.now()) / 1000);
    const answered = () => new Set(run.received.map(([, , , of]) => of).filter((of) => of < packets)).size;
    // Of video nothing is answered: what the endpoint logged of it comes meanwhile.
    while (run.now() < until + FIRST_DRAIN_MS * 1000 && (this.#rung || answered() < packets)) await pause(DRAIN_LOOK_MS);
  }

  told() {
    return { rung: this.#rung?.told() ?? null, ...(this.#load && { load: this.#load }) };
  }
}

/** Of the latest packet that was answered: how long that took, and how long ago it left. And the least that any took. */
function trips({ sent, received, now }) {
  let [latest, least] = [-1, Infinity];
  let trip = 0;
  for (const [, at, , of] of received) {
    const left = sent[of]?.[1];
    if (!left) continue;
    least = Math.min(least, at - left);
    if (of > latest) [latest, trip] = [of, at - left];
  }
  return { least, trip, behind: now() - (sent[latest]?.[1] ?? sent[0]?.[1] ?? now()) };
}

/** Video at a call's rate. */
class Rung {
  sent = [];
  received = [];
  from_us = null;
  to_us = null;
  over = null;
  #stopped = false;

  /** @param {object} run the audio's @param {number} rate_bps */
  constructor(run, rate_bps) {
    this.run = run;
    this.rate_bps = rate_bps;
  }

  /** Sends and lets send, from one point to another, or until a queue grows. */
  async play(from_us, to_us) {
    const { run, rate_bps } = this;
    await pause((from_us - run.now()) / 1000);
    this.from_us = from_us;
    const seed = Math.floor(Math.random() * 2 ** 32);
    await run.carrier.write(frame(START_STREAM, { stream: DOWN, media: 'video', rate_bps, duration_us: to_us - from_us, seed }));
    const watching = this.#watch(to_us);
    await this.#send(from_us, to_us);
    await watching;
    // A queue that it has left is its doing, too.
    this.over = emptied(run).then(() => { this.to_us = run.now(); });
  }

  /** Ends it where answers are far behind. */
  async #watch(to_us) {
    while (this.run.now() < to_us && !this.#stopped) {
      await pause(LOOK_MS);
      this.#stopped = trips(this.run).behind > MOST_BEHIND_US;
    }
    if (this.#stopped) await this.run.carrier.write(frame(STOP_STREAM, { stream: DOWN }));
  }

  async #send(from_us, to_us) {
    const { run, rate_bps } = this;
    let seq = 0;
    for (const { at, frame, key_frame, octets } of packets(rate_bps, from_us, to_us)) {
      const packet = await run.sign(video, { seq, at_us: at, stream: UP, rate_bps, frame, key_frame, length: octets - HEADERS });
      const wait = (at - run.now()) / 1000;
      if (wait > 0) await pause(wait);
      if (this.#stopped) return;
      const late = run.now() - at > MOST_LATE_US;
      this.sent.push([at, late ? null : await run.send(packet), octets]);
      seq += 1;
    }
  }

  told() {
    const { rate_bps, from_us, to_us, sent, received } = this;
    return from_us === null ? null : { rate_bps, from_us, to_us: to_us ?? this.run.now(), sent: [...sent], received: [...received] };
  }
}

/**
 * A signed packet of a video stream up. It says what the stream is: nobody announces it.
 * @param {{ seq: number, unix_ms: number, ssid: number, key: CryptoKey, stream: number, rate_bps: number, frame: number, key_frame: boolean, length: number }} wanted
 */
function video({ seq, unix_ms, ssid, key, stream, rate_bps, frame, key_frame, length }) {
  const octets = base({ seq, unix_ms, ssid, length });
  const view = new DataView(octets.buffer);
  tlv(octets, MEDIA_TLV, MEDIA, 12);
  view.setUint16(MEDIA_TLV + 4, stream);
  octets.set([1, Number(key_frame)], MEDIA_TLV + 6);
  view.setUint32(MEDIA_TLV + 8, frame);
  view.setUint32(MEDIA_TLV + 12, rate_bps / 1000);
  tlv(octets, MEDIA_PADDING, 1, length - MEDIA_PADDING - 4);
  return sign(octets, MEDIA_HMAC_TLV, key);
}

/** Whether it is a packet of a stream down, signed or not. */
const isMedia = (octets) => octets.length > MEDIA_PADDING && octets[MEDIA_TLV + 1] === MEDIA;

/** Reads a packet of a stream down; `null` when it is not signed by the endpoint. */
async function media(octets, key) {
  if (!await verified(octets, MEDIA_HMAC_TLV, key)) return null;
  const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  return { seq: view.getUint32(0), stream: view.getUint16(MEDIA_TLV + 4) };
}

/** The packets of a video stream: frames of which every 60th is a key frame, the others of 80 to 120 % of their mean. */
function* packets(rate_bps, from_us, to_us) {
  const mean = rate_bps / 8 / FRAMES_A_SECOND;
  const delta = (mean * KEY_INTERVAL) / (KEY_INTERVAL - 1 + KEY_SIZE);
  let free_us = from_us;
  for (let frame = 0; ; frame += 1) {
    const due = from_us + Math.round((frame * 1_000_000) / FRAMES_A_SECOND);
    if (due >= to_us) return;
    const key_frame = frame % KEY_INTERVAL === 0;
    let left = key_frame ? delta * KEY_SIZE : delta * (0.8 + Math.random() * 0.4);
    let at = Math.max(due, free_us);
    while (left >= 1) {
      const octets = Math.max(LEAST_OCTETS, Math.ceil(left / Math.ceil(left / MOST_OCTETS)));
      yield { at: Math.round(at), frame, key_frame, octets };
      left -= octets;
      at += (octets * 8_000_000) / (rate_bps * HASTE);
    }
    free_us = at;
  }
}

const UPLOAD = 1;
const DOWNLOAD = 2;
const REQUEST_OCTETS = 17;
const TOLD_OCTETS = 32;
const PIECE_OCTETS = 16_384;
/** Uploads are written in pieces that tunnels cannot make smaller. */
const PIECE = new Uint8Array(PIECE_OCTETS);
const INTERVAL_MS = 50;
const ANSWER_MS = 3_000;
/** How long the queue that one transfer has left may take to empty. */
const EMPTY_MS = 3_000;
/** Round trips this much above the least show that it is empty; two packets further on nothing is missing. */
const EMPTY_US = 30_000;
const ANSWERED_US = EMPTY_US + 40_000;

/** As much as goes, one way after the other. What did not come about has its reason. */
async function both(run, { bytes, ms }) {
  crypto.getRandomValues(PIECE);
  const { transport } = run.carrier;
  const way = async (transfer) => {
    const from_us = run.now();
    const found = await transfer(transport, run, { bytes, ms }).catch(() => ({}));
    await emptied(run);
    return { ...found, from_us, to_us: run.now() };
  };
  const up = await way(upload);
  return { up, down: await way(download) };
}

/** Waits until the queue that was filled is empty again. */
async function emptied(run) {
  const until = run.now() + EMPTY_MS * 1000;
  const isFull = ({ least, trip, behind }) => behind > least + ANSWERED_US || trip > least + EMPTY_US;
  while (run.now() < until && isFull(trips(run))) await pause(INTERVAL_MS);
}

function request(kind, bytes, ms) {
  const octets = new Uint8Array(REQUEST_OCTETS);
  octets[0] = kind;
  const view = new DataView(octets.buffer);
  view.setBigUint64(1, BigInt(bytes));
  view.setBigUint64(9, BigInt(ms * 1000));
  return octets;
}

/** Writes for so long. */
async function upload(transport, run, { bytes, ms }) {
  const { writer, answer } = await ask(transport, request(UPLOAD, 0, ms));
  const until = run.now() + ms * 1000;
  let written = 0;
  const writing = (async () => {
    while (written < bytes && run.now() < until) {
      await writer.ready;
      await writer.write(PIECE);
      written += PIECE_OCTETS;
    }
  })();
  await Promise.race([writing, pause(ms)]);
  writing.catch(() => {});
  const spent = written >= bytes;
  // What the browser has taken is still on its way; of what it holds, what does not leave in time is thrown away.
  if (spent) await Promise.race([writer.close().catch(() => {}), pause((until - run.now()) / 1000)]);
  writer.abort().catch(() => {});
  return { spent, told: await answer() };
}

/** Takes what comes for so long. */
async function download(transport, run, { bytes, ms }) {
  const { writer, answer } = await ask(transport, request(DOWNLOAD, bytes, ms));
  const streams = transport.incomingUnidirectionalStreams.getReader();
  let came = 0;
  const spent = await new Promise((resolve) => {
    streams.read().then(({ value }) => all(value, (octets) => {
      came += octets.length;
      if (came >= bytes) resolve(true);
    })).catch(() => {});
    pause(ms).then(() => resolve(false));
  });
  streams.releaseLock();
  const told = await answer();
  writer.abort().catch(() => {});
  return { spent, told };
}

/** Asks for a transfer; the endpoint tells meanwhile what the connection has carried. */
async function ask(transport, wanted) {
  const stream = await within(transport.createBidirectionalStream(), ANSWER_MS);
  const writer = stream.writable.getWriter();
  writer.closed.catch(() => {});
  await within(writer.write(wanted), ANSWER_MS);
  const told = [];
  const telling = all(stream.readable, (part) => { told.push(part); });
  const answer = async () => {
    await within(telling, ANSWER_MS).catch(() => {});
    const octets = joined(told);
    return base64(octets.subarray(0, octets.length - (octets.length % TOLD_OCTETS)));
  };
  return { writer, answer };
}

/** Takes what comes until its end; one that broke has ended. */
async function all(readable, take) {
  const reader = readable.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      take(value);
    }
  } catch {
    // What has come counts.
  }
}

function joined(parts) {
  const octets = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    octets.set(part, at);
    at += part.length;
  }
  return octets;
}
