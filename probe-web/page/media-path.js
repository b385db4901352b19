// The way that media of a call take: sound and picture go to the endpoint (RTP) and come back, for some seconds, and both ends count. What
// came back is neither heard nor seen. It measures only; the server names it.

import { ACCEPT, FINISH, FINISHED, Queue, frame, frames, hello } from './carriers.js';
import { CONTROL, PACKETS, agree } from './peer.js';
import { linesOf } from './strength.js';
import { pause, within } from './time.js';

const ANSWER_MS = 4_000;
const OPEN_MS = 5_000;
const SEND_MS = 3_000;
/** What is still on its way at the end, and the last reports of both. */
const DRAIN_MS = 600;
/** More than all of it takes, with what it waits for. */
const LONGEST_MS = 60_000;
const LIMITS = { max_bitrate_bps: 3_000_000, max_pps: 600, max_duration_us: 60_000_000 };
const PICTURE = { maxBitrate: 1_200_000, maxFramerate: 30 };
const LINES = 360;
const ECHOED = 12;
/** What repairs losses is left out: they are to be counted. */
const REPAIR = /\/(rtx|red|ulpfec|flexfec)/i;

/**
 * @param {{ url: string, grant: string, microphone: object|null, camera: object|null, send?: string, for: string, clear: Promise<void>, signal: AbortSignal, tell: (detail: object) => void }} how
 *   devices as they were opened, sent where that is asked for; `clear` when nothing else is measured any more: it connects before that
 * @returns {Promise<object>} what the server is told
 */
export async function echo(how) {
  const own = (one) => (how.send === 'devices' ? one?.stream ?? null : null);
  const figures = await came({ ...how, microphone: own(how.microphone), camera: own(how.camera), picture: linesOf(how.for) > 0 });
  how.clear.then(() => how.tell({ step: 'media', state: figures.state === 'failed' ? 'fair' : 'done', figures }), () => {});
  return figures;
}

async function came(how) {
  if (!('RTCPeerConnection' in window) || !('setCodecPreferences' in RTCRtpTransceiver.prototype)) return { state: 'not_tested', reason: 'unsupported' };
  const run = new Run();
  const stop = () => run.close(true);
  how.signal.addEventListener('abort', stop);
  try {
    how.signal.throwIfAborted();
    return await within(run.go(how), LONGEST_MS);
  } catch {
    return { state: 'failed', reason: run.accepted ? 'broke' : run.answered ? 'unreachable' : 'refused' };
  } finally {
    how.signal.removeEventListener('abort', stop);
    run.close(true);
  }
}

class Run {
  connection = new RTCPeerConnection();
  answered = null;
  accepted = false;
  open = true;
  sources = [];
  probes = null;

  async go({ url, grant, microphone, camera, picture, clear }) {
    const began = performance.now();
    const control = this.connection.createDataChannel('control', CONTROL);
    // Kept, though nothing is sent there: Firefox closes a channel that nobody holds, and its end is the session's.
    this.probes = this.connection.createDataChannel('probes', PACKETS);
    const octets = new Queue();
    control.binaryType = 'arraybuffer';
    control.onmessage = ({ data }) => octets.put(new Uint8Array(data));
    control.onclose = () => octets.put(null);
    const opened = new Promise((resolve) => { control.onopen = resolve; });
    const sound = tone(microphone);
    this.sources.push(sound);
    if (picture) this.sources.push(drawn(camera));
    // Made now, sent behind the endpoint's consent.
    const senders = this.sources.map((source) => this.sender(source));
    this.answered = await agree(this.connection, { url, grant });
    await within(opened, OPEN_MS);
    const told = frames(octets.all());
    const next = async () => (await within(told.next(), ANSWER_MS)).value;
    control.send(hello(grant, { wants: LIMITS }));
    if ((await next())?.kind !== ACCEPT) throw new Error('not accepted');
    this.accepted = true;
    const setup_ms = performance.now() - began;
    await clear;
    const first = await this.pair();
    await Promise.all(senders.map(({ sender }, n) => sender.replaceTrack(this.sources[n].track)));
    const from = performance.now();
    await pause(SEND_MS);
    const available = (await this.pair())?.availableOutgoingBitrate ?? null;
    await Promise.all(senders.map(({ sender }) => sender.replaceTrack(null)));
    const sent_for_ms = performance.now() - from;
    await pause(DRAIN_MS);
    const streams = await Promise.all(this.sources.map((source, n) => counted(source, senders[n])));
    const pair = await this.pair();
    const stats = await this.connection.getStats();
    control.send(frame(FINISH, {}));
    let there = null;
    for (let said = await next(); said?.kind !== FINISHED; said = await next()) {
      if (!said) throw new Error('no end');
      if (said.kind === ECHOED) there = JSON.parse(new TextDecoder().decode(said.payload));
    }
    if (!there) throw new Error('no counts');
    this.close(false);
    return { state: 'measured', setup_ms, sent_for_ms, streams, pair: way(stats, pair, first), available_outgoing_bps: whole(available), there };
  }

  /** A line that sends nothing yet. */
  sender({ kind, scale }) {
    const sendEncodings = kind === 'video' ? [{ ...PICTURE, scaleResolutionDownBy: scale }] : [{}];
    const transceiver = this.connection.addTransceiver(kind, { direction: 'sendrecv', sendEncodings });
    transceiver.setCodecPreferences(RTCRtpReceiver.getCapabilities(kind).codecs.filter(({ mimeType }) => !REPAIR.test(mimeType)));
    return transceiver;
  }

  /** The pair of addresses in use. */
  async pair() {
    const stats = await this.connection.getStats();
    const id = one(stats, ({ type }) => type === 'transport')?.selectedCandidatePairId;
    return stats.get(id) ?? one(stats, ({ type, selected }) => type === 'candidate-pair' && selected) ?? null;
  }

  close(early) {
    if (!this.open) return;
    this.open = false;
    for (const source of this.sources) source.stop();
    if (this.answered) this.answered.close(early);
    else this.connection.close();
  }
}

/** The microphone's sound where it is on, else a tone that nobody hears. */
function tone(microphone) {
  const track = microphone?.getAudioTracks().find((one) => one.readyState === 'live')?.clone();
  if (track) return { kind: 'audio', source: 'device', track, stop: () => track.stop() };
  const context = new AudioContext();
  const oscillator = new OscillatorNode(context, { frequency: 440 });
  const out = context.createMediaStreamDestination();
  oscillator.connect(out);
  oscillator.start();
  context.resume().catch(() => {});
  return { kind: 'audio', source: 'synthetic', track: out.stream.getAudioTracks()[0], stop: () => { context.close().catch(() => {}); } };
}

/** The camera's picture where it is on, else one that is drawn and moves, so that there is something to encode. */
function drawn(camera) {
  const track = camera?.getVideoTracks().find((one) => one.readyState === 'live')?.clone();
  if (track) return { kind: 'video', source: 'device', track, scale: Math.max(1, (track.getSettings().height ?? LINES) / LINES), stop: () => track.stop() };
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: LINES });
  const draw = canvas.getContext('2d');
  const paint = () => {
    for (let n = 0; n < 60; n += 1) {
      draw.fillStyle = `hsl(${Math.random() * 360} 60% 50%)`;
      draw.fillRect(Math.random() * 640, Math.random() * LINES, 40, 40);
    }
  };
  paint();
  const painting = setInterval(paint, 50);
  const made = canvas.captureStream(20).getVideoTracks()[0];
  return { kind: 'video', source: 'synthetic', track: made, scale: 1, stop: () => { clearInterval(painting); made.stop(); } };
}

/** What the browser counted of a line. */
async function counted({ kind, source }, { sender, receiver }) {
  const [out, back] = await Promise.all([sender.getStats(), receiver.getStats()]);
  const of = (stats, type) => one(stats, (stat) => stat.type === type) ?? {};
  const [sent, came, told] = [of(out, 'outbound-rtp'), of(back, 'inbound-rtp'), of(out, 'remote-inbound-rtp')];
  const resent = whole(sent.retransmittedPacketsSent) ?? 0;
  const rtts = told.roundTripTimeMeasurements ?? 0;
  return {
    media: kind, source,
    sent_packets: Math.max(0, (whole(sent.packetsSent) ?? 0) - resent), sent_bytes: whole(sent.bytesSent) ?? 0, resent_packets: resent,
    received_packets: whole(came.packetsReceived) ?? 0, received_bytes: whole(came.bytesReceived) ?? 0, lost: Math.max(0, came.packetsLost ?? 0),
    jitter_ms: came.jitter === undefined ? null : came.jitter * 1_000,
    rtt_ms: rtts > 0 ? (told.totalRoundTripTime / rtts) * 1_000 : null, rtts,
    picture: kind === 'video' ? { frames: whole(sent.framesSent) ?? 0, width: sent.frameWidth ?? 0, height: sent.frameHeight ?? 0, limited_by: sent.qualityLimitationReason ?? null } : null,
  };
}

/** The kinds of addresses, without these, and how long its checks took since `first`, if it was the same pair then. */
function way(stats, pair, before) {
  const first = before?.id === pair?.id ? before : null;
  const [local, remote] = [stats.get(pair?.localCandidateId), stats.get(pair?.remoteCandidateId)];
  if (!local || !remote) return null;
  const rtts = (pair.responsesReceived ?? 0) - (first?.responsesReceived ?? 0);
  const took = (pair.totalRoundTripTime ?? 0) - (first?.totalRoundTripTime ?? 0);
  return { local: local.candidateType, remote: remote.candidateType, transport: local.protocol, relay_transport: local.relayProtocol ?? null, rtt_ms: rtts > 0 ? (took / rtts) * 1_000 : null, rtts: Math.max(0, rtts) };
}

const one = (stats, which) => [...stats.values()].find(which);
const whole = (value) => (typeof value === 'number' && Number.isFinite(value) ? Math.round(value) : null);
