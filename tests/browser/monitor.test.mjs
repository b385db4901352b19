// What the monitor of a call makes of its statistics, without a browser. `node --test tests/browser/monitor.test.mjs`, or tests/monitor.rs.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';

import { monitor } from '../../probe-web/page/monitor.js';
import { close, fresh, read, step } from '../../probe-web/page/monitor-figures.js';
import { Tally, report, shortCode } from '../../probe-web/page/monitor-report.js';
import { sound } from '../../probe-web/page/monitor-sound.js';
import { say } from '../../probe-web/page/monitor-words.js';
import english from '../../probe-web/page/words/call-en.js';

const SECONDS = 2;
const LANGUAGES = ['en', 'de', 'es', 'ja', 'ar'];

/** A call whose counters grow as told; each part may be changed while it runs. */
class Call {
  at_ms = 0;
  /** Clock of the statistics: far from the page's, as browsers have it. */
  clock_ms = 1_700_000_000_000;
  state = fresh();
  events = [];
  tally = new Tally();
  seen = { connection: 'connected', hidden: false, stalled_ms: 0, microphone: { id: 'mic', muted: null }, wants_audio: true, cap_bps: null, buffer_target_ms: 0 };
  rows = {
    transport: { id: 'T', type: 'transport', selectedCandidatePairId: 'P' },
    other: { id: 'Q', type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime: 9, localCandidateId: 'L', remoteCandidateId: 'R' },
    pair: { id: 'P', type: 'candidate-pair', nominated: true, state: 'succeeded', localCandidateId: 'L', remoteCandidateId: 'R', totalRoundTripTime: 0, responsesReceived: 0, availableOutgoingBitrate: 3e6 },
    local: { id: 'L', type: 'local-candidate', candidateType: 'host', protocol: 'udp' },
    remote: { id: 'R', type: 'remote-candidate', candidateType: 'srflx', protocol: 'udp' },
    audio_in: {
      id: 'IA', type: 'inbound-rtp', kind: 'audio', ssrc: 1, packetsReceived: 0, packetsLost: 0, bytesReceived: 0, jitter: 0.004, jitterBufferDelay: 0, jitterBufferEmittedCount: 0,
      totalSamplesReceived: 0, concealedSamples: 0, silentConcealedSamples: 0, packetsDiscarded: 0, totalAudioEnergy: 0, totalSamplesDuration: 0,
    },
    video_in: { id: 'IV', type: 'inbound-rtp', kind: 'video', ssrc: 2, packetsReceived: 0, packetsLost: 0, bytesReceived: 0, framesDecoded: 0, frameHeight: 720, freezeCount: 0, totalFreezesDuration: 0, jitter: 0.01 },
    audio_out: { id: 'OA', type: 'outbound-rtp', kind: 'audio', ssrc: 3, packetsSent: 0, bytesSent: 0 },
    audio_said: { id: 'RA', type: 'remote-inbound-rtp', kind: 'audio', ssrc: 3, localId: 'OA', packetsLost: 0, jitter: 0.003, roundTripTimeMeasurements: 0, totalRoundTripTime: 0 },
    video_out: {
      id: 'OV', type: 'outbound-rtp', kind: 'video', ssrc: 4, mediaSourceId: 'SV', packetsSent: 0, bytesSent: 0, framesSent: 0, framesEncoded: 0, frameHeight: 720, targetBitrate: 1.5e6,
      qualityLimitationReason: 'none', qualityLimitationDurations: { none: 0, cpu: 0, bandwidth: 0, other: 0 }, totalEncodeTime: 0,
    },
    sound: { id: 'SA', type: 'media-source', kind: 'audio', trackIdentifier: 'mic', totalAudioEnergy: 0, totalSamplesDuration: 0, audioLevel: 0.1 },
    picture: { id: 'SV', type: 'media-source', kind: 'video', trackIdentifier: 'camera', frames: 0 },
  };
  /** Per second. */
  rate = {
    lost_in: 0, late_in: 0, packets_in: 50, video_packets_in: 100, video_lost_in: 0, lost_out: 0, packets_out: 50, rtt_s: 0.05, buffer_s: 0.06, concealed: 0, quiet: 0, fps_in: 30, frozen_s: 0,
    fps_out: 30, fps_source: 30, cpu: 0, bandwidth: 0, energy: 0.001,
  };

  /** Lets time pass, and looks. Reports of the other side come every `said` looks. */
  run(looks, { said = 3, seconds = SECONDS } = {}) {
    for (let n = 0; n < looks; n += 1) {
      this.grow(seconds, n % said === said - 1);
      this.look();
    }
    return this;
  }

  grow(s, says = false) {
    this.at_ms += s * 1_000;
    this.clock_ms += s * 1_000;
    const { rows, rate } = this;
    const add = (row, changes) => { for (const [name, by] of Object.entries(changes)) if (row && name in row) row[name] += by * s; };
    add(rows.pair, { totalRoundTripTime: rate.rtt_s, responsesReceived: 1 });
    add(rows.audio_in, {
      packetsReceived: rate.packets_in - rate.lost_in, packetsLost: rate.lost_in, packetsDiscarded: rate.late_in, bytesReceived: 4_000, jitterBufferEmittedCount: 48_000, jitterBufferDelay: 48_000 * rate.buffer_s,
      totalSamplesReceived: 48_000, concealedSamples: rate.concealed + rate.quiet, silentConcealedSamples: rate.quiet, totalAudioEnergy: 0.001, totalSamplesDuration: 1,
    });
    add(rows.video_in, { packetsReceived: rate.video_packets_in - rate.video_lost_in, packetsLost: rate.video_lost_in, bytesReceived: 1e5, framesDecoded: rate.fps_in, totalFreezesDuration: rate.frozen_s, freezeCount: rate.frozen_s ? 1 : 0 });
    add(rows.audio_out, { packetsSent: rate.packets_out, bytesSent: 4_000 });
    add(rows.video_out, { packetsSent: 100, bytesSent: 1e5, framesSent: rate.fps_out, framesEncoded: rate.fps_out, totalEncodeTime: 0.1 });
    if (rows.video_out?.qualityLimitationDurations) {
      const { cpu, bandwidth } = rate;
      rows.video_out.qualityLimitationDurations = { ...rows.video_out.qualityLimitationDurations };
      add(rows.video_out.qualityLimitationDurations, { none: 1 - cpu - bandwidth, cpu, bandwidth });
    }
    add(rows.sound, { totalAudioEnergy: rate.energy, totalSamplesDuration: 1 });
    add(rows.picture, { frames: rate.fps_source });
    this.unsaid = (this.unsaid ?? 0) + rate.lost_out * s;
    for (const row of Object.values(rows)) if (row && row !== rows.audio_said) row.timestamp = this.clock_ms;
    if (says && rows.audio_said) {
      Object.assign(rows.audio_said, { timestamp: this.clock_ms, packetsLost: rows.audio_said.packetsLost + Math.round(this.unsaid), roundTripTimeMeasurements: rows.audio_said.roundTripTimeMeasurements + 1, totalRoundTripTime: rows.audio_said.totalRoundTripTime + rate.rtt_s });
      this.unsaid = 0;
    }
  }

  look() {
    const before = JSON.stringify([...this.state.heard, ...this.state.reasons]);
    const { state, figures, events } = step(this.state, read(Object.values(this.rows).filter(Boolean).map((row) => ({ ...row })), this.at_ms, { ...this.seen }));
    assert.equal(JSON.stringify([...this.state.heard, ...this.state.reasons]), before, 'a look changes nothing of the one before');
    this.state = state;
    this.figures = figures;
    this.events.push(...events);
    if (figures) this.tally.add(figures);
    assert.doesNotMatch(JSON.stringify(figures), /undefined/);
    for (const text of numbers(figures)) assert.ok(Number.isFinite(text), `${text} in ${JSON.stringify(figures)}`);
  }

  get begun() {
    return this.events.filter(({ type }) => type === 'begin').map(({ code }) => code);
  }

  get over() {
    return this.events.filter(({ type }) => type === 'end').map(({ code }) => code);
  }

  report(more = {}) {
    const ended = [...this.events.filter(({ type }) => type === 'end'), ...close(this.state, this.at_ms)].map(({ type, ...one }) => one);
    return report({ tally: this.tally, ended, began: 1_764_417_600_000, duration_ms: this.at_ms, parent: { id: null, code: null }, complete: true, every_ms: 2_000, labels: {}, words: english, ...more });
  }
}

const numbers = (value) => (typeof value === 'number' ? [value] : value && typeof value === 'object' ? Object.values(value).flatMap(numbers) : []);

test('a good call has no reason, and figures in their units', () => {
  const call = new Call().run(60);
  assert.deepEqual(call.begun, []);
  const { figures } = call;
  assert.equal(Math.round(figures.path.rtt_ms), 50);
  assert.equal(figures.down.audio.loss_ratio, 0);
  assert.equal(figures.down.audio.packets, 100);
  assert.equal(Math.round(figures.down.audio.buffer_ms), 60);
  assert.equal(figures.down.audio.jitter_rfc3550_ms, 4);
  assert.equal(Math.round(figures.down.audio.bps), 32_000);
  assert.equal(figures.down.video.fps, 30);
  assert.equal(figures.up.video.fps, 30);
  assert.equal(Math.round(figures.microphone.level_dbfs), -30);
  assert.equal(figures.path.local, 'host');
});

test('loss is told per direction, begins, and ends', () => {
  const down = new Call().run(5);
  down.rate.lost_in = 5;
  down.run(8);
  assert.deepEqual(down.begun, ['loss_down']);
  assert.ok(down.at_ms - down.events[0].at_ms <= 18_000, 'within two looks of its beginning');
  down.rate.lost_in = 0;
  down.run(10);
  assert.deepEqual(down.over, ['loss_down']);
  const [, end] = down.events;
  assert.ok(end.worst > 0.05 && end.worst <= 0.1 && end.lasted_ms >= 16_000 && end.lasted_ms <= 28_000, JSON.stringify(end));
  const up = new Call().run(5);
  up.rate.lost_out = 5;
  up.run(10);
  assert.deepEqual(up.begun, ['loss_up']);
});

test('counters since the call began are no rates: an hour with an old loss is good', () => {
  const call = new Call();
  call.rows.audio_in.packetsLost = 100_000;
  call.rows.audio_in.packetsReceived = 100_000;
  call.rows.audio_in.concealedSamples = 1e9;
  call.rows.audio_in.jitterBufferDelay = 1e9;
  call.rows.video_in.totalFreezesDuration = 1_000;
  call.rows.video_in.freezeCount = 1_000;
  call.rows.video_out.qualityLimitationDurations = { none: 1, cpu: 5_000, bandwidth: 5_000, other: 0 };
  call.rows.video_out.qualityLimitationReason = 'bandwidth';
  assert.deepEqual(call.run(20).begun, []);
});

test('packets that were given up and came: the count runs backward, and is no loss below zero', () => {
  const call = new Call().run(3);
  call.rows.audio_in.packetsLost = -3;
  call.run(1);
  assert.equal(call.figures.down.audio.loss_ratio, 0);
  for (let n = 0; n < 12; n += 1) {
    // Each look counts ten as lost, and the next takes them back.
    call.rows.audio_in.packetsLost += n % 2 ? -10 : 10;
    call.run(1);
  }
  assert.deepEqual(call.begun, []);
  assert.equal(call.report().targets[0].down.loss_ratio.value, 0);
});

test('reports of the other side that did not come are no good news, and old ones no new loss', () => {
  const call = new Call().run(6);
  call.rate.lost_out = 5;
  call.run(9);
  assert.deepEqual(call.begun, ['loss_up']);
  // No report any more: nothing is known, so nothing is over.
  call.run(10, { said: 1_000 });
  assert.deepEqual(call.over, []);
  assert.equal(call.figures.up.audio.loss_ratio, null);
});

test('a browser that renews the stamp of an old report is not believed', () => {
  const call = new Call();
  call.rate.lost_out = 0;
  call.run(3);
  const before = call.rows.audio_said.packetsLost;
  for (let n = 0; n < 2; n += 1) {
    call.grow(1);
    call.rows.audio_said.timestamp = call.clock_ms;
    call.look();
    assert.equal(call.figures.up.audio.loss_ratio, null);
  }
  assert.equal(call.rows.audio_said.packetsLost, before);
});

test('counters that begin anew, with a new stream or an old name, are no figures', () => {
  const call = new Call().run(10);
  call.rows.audio_in = { ...call.rows.audio_in, ssrc: 77, packetsReceived: 10, packetsLost: 0 };
  call.rows.video_in = { ...call.rows.video_in, framesDecoded: 1, packetsReceived: 5, packetsLost: 0, totalFreezesDuration: 0 };
  call.rows.audio_out = { ...call.rows.audio_out, ssrc: 78, packetsSent: 0, bytesSent: 0 };
  call.rows.audio_said = { ...call.rows.audio_said, ssrc: 78, packetsLost: 0 };
  call.look();
  call.grow(2);
  call.look();
  call.run(15);
  assert.deepEqual(call.begun, []);
  assert.equal(call.figures.down.audio.packets, 100);
});

test('silence that stands for silence is not concealment, and without its count nothing is said', () => {
  const call = new Call();
  call.rate.quiet = 40_000;
  assert.deepEqual(call.run(15).begun, []);
  const old = new Call();
  delete old.rows.audio_in.silentConcealedSamples;
  old.rate.concealed = 40_000;
  assert.deepEqual(old.run(15).begun, []);
  assert.equal(old.figures.down.audio.concealed_ratio, null);
  const late = new Call().run(4);
  late.rate.concealed = 4_800;
  assert.deepEqual(late.run(6).begun, ['late_loss_down']);
  // Where packets are lost, the loss is the reason.
  const lost = new Call().run(4);
  Object.assign(lost.rate, { concealed: 4_800, lost_in: 5 });
  assert.ok(!lost.run(6).begun.slice(1).includes('late_loss_down'), lost.begun.join());
});

test('a buffer that holds more than it was asked to, and a long way', () => {
  const call = new Call().run(3);
  call.rate.buffer_s = 0.4;
  assert.deepEqual(call.run(5).begun, ['buffer_delay_down']);
  const asked = new Call();
  asked.seen.buffer_target_ms = 400;
  asked.rate.buffer_s = 0.45;
  assert.deepEqual(asked.run(15).begun, []);
  const far = new Call().run(3);
  far.rate.rtt_s = 0.4;
  assert.deepEqual(far.run(5).begun, ['rtt_high']);
  assert.equal(Math.round(far.figures.path.rtt_ms), 400);
  far.rate.rtt_s = 0.22;
  assert.deepEqual(far.run(10).over, [], 'between both limits it goes on');
  far.rate.rtt_s = 0.1;
  assert.deepEqual(far.run(10).over, ['rtt_high']);
});

test('an answer that did not come anew is no round trip', () => {
  const call = new Call().run(3);
  const { pair } = call.rows;
  call.rate.rtt_s = 0;
  call.grow(2);
  Object.assign(pair, { responsesReceived: pair.responsesReceived - 2, currentRoundTripTime: 5 });
  call.look();
  assert.equal(call.figures.path.rtt_ms, null);
});

test('pictures: frozen when it is over, frozen while it lasts, and not frozen when switched off', () => {
  const told = new Call().run(5);
  told.rate.frozen_s = 0.3;
  assert.deepEqual(told.run(3).begun, ['video_frozen']);
  const lasts = new Call().run(5);
  delete lasts.rows.video_in.totalFreezesDuration;
  delete lasts.rows.video_in.freezeCount;
  lasts.rate.fps_in = 0;
  assert.deepEqual(lasts.run(3).begun, ['video_frozen']);
  const off = new Call().run(5);
  Object.assign(off.rate, { fps_in: 0, video_packets_in: 0 });
  assert.deepEqual(off.run(15).begun, []);
});

test('few pictures of a stream that had more, and of a camera that gives more', () => {
  const call = new Call().run(5);
  call.rate.fps_in = 8;
  assert.deepEqual(call.run(6).begun, ['frame_rate_low_down']);
  assert.equal(call.events[0].value, 8);
  const screen = new Call();
  screen.rate.fps_in = 2;
  assert.deepEqual(screen.run(20).begun, [], 'a screen that stands still');
  const slow = new Call().run(5);
  slow.rate.fps_out = 6;
  assert.deepEqual(slow.run(6).begun, ['frame_rate_low_up']);
  const early = new Call();
  early.rate.fps_out = 0;
  assert.deepEqual(early.run(10).begun, [], 'not connected yet, or switched off: nothing is sent, which is not slow');
  const camera = new Call();
  Object.assign(camera.rate, { fps_out: 10, fps_source: 10 });
  assert.deepEqual(camera.run(10).begun, [], 'it gives no more');
});

test('what holds an encoder down is told apart', () => {
  const cpu = new Call().run(8);
  cpu.rate.cpu = 1;
  assert.deepEqual(cpu.run(6).begun, ['cpu_limited']);
  const narrow = new Call().run(8);
  narrow.rate.bandwidth = 1;
  Object.assign(narrow.rows.pair, { availableOutgoingBitrate: 4e5 });
  narrow.rows.video_out.targetBitrate = 3.5e5;
  assert.deepEqual(narrow.run(8).begun, ['bandwidth_limited']);
  const cautious = new Call();
  cautious.rate.bandwidth = 1;
  assert.deepEqual(cautious.run(20).begun, [], 'there is room for twice as much');
  const ramp = new Call();
  ramp.rate.bandwidth = 1;
  for (let n = 0; n < 15; n += 1) {
    ramp.rows.pair.availableOutgoingBitrate = 3e5 * 1.1 ** n;
    ramp.rows.video_out.targetBitrate = 2.9e5 * 1.1 ** n;
    ramp.run(1);
  }
  assert.deepEqual(ramp.begun, [], 'the estimate climbs still');
  const own = new Call();
  own.rate.bandwidth = 1;
  own.seen.cap_bps = 1e5;
  own.rows.video_out.targetBitrate = 1e5;
  assert.deepEqual(own.run(12).begun, ['bitrate_capped']);
  const moment = new Call();
  moment.rows.video_out.qualityLimitationReason = 'cpu';
  assert.deepEqual(moment.run(12).begun, [], 'the reason of the moment against the time that it took');
});

test('a microphone: silent from the beginning, silent after it was heard, muted, replaced, at the rail', () => {
  const dead = new Call();
  dead.rate.energy = 0;
  assert.deepEqual(dead.run(5).begun, ['mic_muted_in_hardware']);
  const gated = new Call().run(5);
  gated.rate.energy = 0;
  assert.deepEqual(gated.run(12).begun, [], 'a headset that lets nothing through while nobody speaks');
  assert.deepEqual(gated.run(8).begun, ['mic_muted_in_hardware']);
  gated.rate.energy = 0.001;
  assert.deepEqual(gated.run(1).over, ['mic_muted_in_hardware']);
  const muted = new Call().run(5);
  muted.rate.energy = 0;
  muted.seen.microphone = { id: 'mic', muted: 'application' };
  assert.deepEqual(muted.run(30).begun, ['mic_muted_in_software']);
  const other = new Call().run(5);
  other.rate.energy = 0;
  other.seen.microphone = { id: 'other', muted: null };
  other.rows.sound = { ...other.rows.sound, trackIdentifier: 'other', totalAudioEnergy: 0, totalSamplesDuration: 0 };
  assert.deepEqual(other.run(6).begun, ['mic_muted_in_hardware'], 'another one was never heard');
  const stopped = new Call();
  for (const name of ['totalAudioEnergy', 'totalSamplesDuration']) Object.defineProperty(stopped.rows.sound, name, { get: () => 0, set() {}, enumerable: true });
  assert.deepEqual(stopped.run(5).begun, ['mic_muted_in_hardware'], 'it hands out nothing');
  const loud = new Call();
  loud.rows.sound.audioLevel = 1;
  assert.deepEqual(loud.run(6).begun, ['mic_clipping']);
  const untold = new Call();
  delete untold.rows.sound;
  assert.deepEqual(untold.run(20).begun, [], 'a browser that tells nothing of it');
  assert.equal(untold.figures.microphone.level_dbfs, null);
});

test('samples of a microphone, where a track was given', () => {
  const call = new Call();
  delete call.rows.sound;
  call.seen.microphone.sound = { samples: 96_000, clipped: 960, squares: 0.2 };
  assert.deepEqual(call.run(4).begun, ['mic_clipping']);
  const wave = Float32Array.from({ length: 4_800 }, (_, n) => Math.max(-1, Math.min(1, 2 * Math.sin(n / 10))));
  const { clipped, squares } = sound(wave);
  assert.ok(clipped > 2_000 && squares > 0.5, `${clipped} ${squares}`);
  assert.equal(sound(Float32Array.of(0, 1, 0, 1, 1, 0)).clipped, 0, 'a peak is no clipping');
  assert.deepEqual(sound(new Float32Array(0)), { squares: null, samples: 0, clipped: 0 });
});

test('no sound comes, though some is to', () => {
  const call = new Call().run(4);
  call.rate.packets_in = 0;
  assert.deepEqual(call.run(5).begun, ['audio_not_received']);
  const never = new Call();
  delete never.rows.audio_in;
  assert.deepEqual(never.run(5).begun, ['audio_not_received']);
  const alone = new Call();
  delete alone.rows.audio_in;
  alone.seen.wants_audio = false;
  assert.deepEqual(alone.run(10).begun, []);
});

test('a page that was hidden or held up is no network trouble, and what comes late of it neither', () => {
  for (const [seen, code] of [[{ hidden: true }, 'page_hidden'], [{ stalled_ms: 1_500 }, 'page_stalled']]) {
    const call = new Call().run(6);
    Object.assign(call.seen, seen);
    Object.assign(call.rate, { lost_in: 10, lost_out: 10, rtt_s: 0.6, buffer_s: 0.5, concealed: 9_000, fps_in: 3, fps_out: 3, cpu: 1, frozen_s: 0.5 });
    call.run(10);
    assert.deepEqual(call.begun, [code]);
    assert.equal(call.figures.disturbed, seen.hidden ? 'hidden' : 'stalled');
    // One look more brings what had waited.
    Object.assign(call.seen, { hidden: false, stalled_ms: 0 });
    call.run(1);
    Object.assign(call.rate, new Call().rate);
    call.run(12);
    assert.deepEqual(call.begun, [code]);
    assert.deepEqual(call.over, [code]);
    const { verdict } = call.report();
    assert.deepEqual(verdict.causes.map((cause) => [cause.code, cause.place]), [[code, 'computer']]);
  }
});

test('a call in the background most of the time is not judged', () => {
  const call = new Call().run(6);
  call.seen.hidden = true;
  const { verdict } = call.run(30).report();
  assert.equal(verdict.overall, 'inconclusive');
  assert.equal(verdict.causes[0].state, 'inconclusive');
  assert.equal(new Call().run(3).report().verdict.overall, 'inconclusive', 'four seconds are too few');
});

test('timers of a hidden page come late: rates go by the statistics’ own clock', () => {
  const call = new Call().run(3);
  // The look is 500 ms late, the statistics were made in time.
  call.grow(2);
  call.at_ms += 500;
  call.look();
  assert.equal(call.figures.down.video.fps, 30);
  // A clock that steps by an hour is none.
  call.clock_ms += 3_600_000;
  call.at_ms -= 500;
  call.run(1);
  assert.ok(call.figures.down.video.fps > 20 && call.figures.down.video.fps < 45, String(call.figures.down.video.fps));
});

test('another path is told once, a relay while it lasts, and a break', () => {
  const call = new Call().run(6);
  call.rows.pair = { ...call.rows.pair, id: 'P2', localCandidateId: 'L2', totalRoundTripTime: 0, responsesReceived: 0 };
  call.rows.local = { id: 'L2', type: 'local-candidate', candidateType: 'relay', protocol: 'udp', relayProtocol: 'tls' };
  call.rows.transport.selectedCandidatePairId = 'P2';
  call.run(3);
  assert.deepEqual(call.begun.sort(), ['path_changed', 'relayed']);
  const { from, to } = call.events.find(({ code }) => code === 'path_changed');
  assert.deepEqual([from.local, to.local, to.relay_protocol], ['host', 'relay', 'tls']);
  call.seen.connection = 'disconnected';
  call.run(2);
  call.seen.connection = 'connected';
  call.run(3);
  assert.ok(call.over.includes('connection_lost') && !call.over.includes('relayed'));
  const { verdict } = call.report();
  assert.deepEqual(verdict.causes.filter(({ state }) => state !== 'ready').map(({ code }) => code), ['connection_lost']);
});

test('a peer that gets its name late is no other path, and a relay is one', () => {
  const call = new Call();
  call.rows.remote = { ...call.rows.remote, candidateType: 'prflx' };
  call.run(6);
  call.rows.pair = { ...call.rows.pair, id: 'P2', remoteCandidateId: 'R2', totalRoundTripTime: 0, responsesReceived: 0 };
  call.rows.named = { ...call.rows.remote, id: 'R2', candidateType: 'host' };
  call.rows.transport.selectedCandidatePairId = 'P2';
  assert.deepEqual(call.run(3).begun, []);
  call.rows.pair = { ...call.rows.pair, id: 'P3', remoteCandidateId: 'R3' };
  call.rows.named = { ...call.rows.named, id: 'R3', candidateType: 'relay' };
  call.rows.transport.selectedCandidatePairId = 'P3';
  assert.deepEqual(call.run(3).begun.sort(), ['path_changed', 'relayed']);
});

test('what Firefox and Safari leave out is not known, and nothing breaks', () => {
  const call = new Call();
  delete call.rows.transport;
  delete call.rows.other;
  call.rows.pair = { id: 'P', type: 'candidate-pair', selected: true, state: 'succeeded', localCandidateId: 'L', remoteCandidateId: 'gone' };
  for (const name of ['qualityLimitationReason', 'qualityLimitationDurations', 'targetBitrate', 'framesSent', 'totalEncodeTime']) delete call.rows.video_out[name];
  for (const name of ['totalFreezesDuration', 'freezeCount', 'jitter', 'frameHeight']) delete call.rows.video_in[name];
  for (const name of ['jitterBufferDelay', 'silentConcealedSamples', 'packetsDiscarded', 'totalSamplesReceived']) delete call.rows.audio_in[name];
  delete call.rows.sound;
  delete call.rows.picture;
  assert.deepEqual(call.run(20).begun, []);
  assert.equal(call.figures.path.rtt_ms, null);
  assert.equal(call.figures.up.video.cpu_ratio, null);
  call.report();
});

test('nothing at all, strange rows and the same look twice', () => {
  const call = new Call();
  call.rows = {};
  call.seen = {};
  call.run(20);
  assert.deepEqual([call.begun, call.figures.path, call.figures.down.audio], [[], null, null]);
  const made = call.report();
  assert.deepEqual([made.targets, made.verdict.overall], [[], 'inconclusive'], 'nothing seen is not good');
  const { state } = step(fresh(), read([null, {}, { id: 3 }, { id: 'x', type: 'inbound-rtp', kind: 'audio', packetsReceived: 'many', packetsLost: NaN }], 0));
  assert.equal(step(state, read([], 0)).figures, null);
});

test('the report: linked, counted, worst cause first', () => {
  const call = new Call().run(5);
  call.rate.lost_in = 5;
  call.run(20);
  const id = '0197c0de-1234-7abc-8def-0123456789ab';
  const made = call.report({ parent: { id, code: shortCode(id) } });
  assert.equal(made.parent, id);
  assert.equal(made.settings.asked.parent_code, shortCode(id));
  assert.equal(made.kind, 'monitor');
  assert.match(made.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(made.code, shortCode(made.id));
  assert.equal(shortCode('00000000-0000-0000-0000-000800000000'), '1000-0000');
  assert.equal(shortCode('ffffffff-ffff-ffff-ffff-ffffffffffff'), 'ZZZZ-ZZZZ');
  const [{ verdict, targets: [{ up, down, rtt_ms, streams }] }] = [made];
  assert.deepEqual([verdict.overall, verdict.place, verdict.direction, verdict.causes[0].code], ['degraded', 'path', 'down', 'loss_down']);
  assert.match(verdict.say, /^About \d+(\.\d)? % of what is sent to you/);
  for (const way of [up, down]) assert.equal(way.sent, way.on_time + way.late + way.lost + way.awaited);
  assert.ok(Math.abs(down.loss_ratio.value - 200 / 2_400) < 0.01, JSON.stringify(down.loss_ratio));
  assert.deepEqual([rtt_ms.n, Math.round(rtt_ms.p50), rtt_ms.p95, rtt_ms.p99], [24, 50, null, null]);
  assert.deepEqual(streams.map((one) => [one.use, one.direction]), [['video_720p', 'up'], ['video_720p', 'down']]);
  assert.doesNotMatch(JSON.stringify(made), /NaN|Infinity/);
  assert.doesNotMatch(JSON.stringify(made.verdict), /\{\w+\}/, 'every place is filled');
  // For who reads it with the readers of every other report: tests/monitor.rs.
  if (process.env.GREENROOM_CALL_REPORT) writeFileSync(process.env.GREENROOM_CALL_REPORT, JSON.stringify(made));
});

test('a long call keeps its plots small, and its sums whole', () => {
  const call = new Call();
  call.rate.lost_in = 1;
  call.run(3_000);
  const made = call.report();
  assert.ok(JSON.stringify(made).length < 150_000, String(JSON.stringify(made).length));
  const [{ series, down }] = made.targets;
  assert.equal(down.lost, 2 * 2_999);
  for (const one of series) assert.ok(one.at_ms.length === one.values.length && one.at_ms.length <= 600);
});

test('every reason has words in every language, with the same places', async () => {
  const { RULES } = await import('../../probe-web/page/monitor-figures.js');
  const codes = [...RULES.map(({ code }) => code), 'path_changed'].sort();
  const places = (texts) => texts.map((text) => (text?.match(/\{\w+\}/g) ?? []).sort().join()).join('|');
  for (const language of LANGUAGES) {
    const { default: words } = await import(`../../probe-web/page/words/call-${language}.js`);
    assert.deepEqual(Object.keys(words.reasons).sort(), codes, language);
    for (const [code, texts] of Object.entries(words.reasons)) {
      assert.equal(places(texts), places(english.reasons[code]), `${language} ${code}`);
      assert.ok(texts[0].length > 5 && texts.length === 2, `${language} ${code}`);
    }
    for (const name of ['well', 'unsure']) assert.ok(words[name][0].length > 5, `${language} ${name}`);
  }
});

/** A connection as far as the monitor asks one. */
class Connection {
  connectionState = 'connected';
  signalingState = 'stable';
  stats = () => Promise.resolve(new Map());
  getStats() { return this.stats(); }
  getSenders() { return []; }
  getTransceivers() { return []; }
}

test('the monitor ends with its connection, and what it cannot ask does not end it', async () => {
  const pc = new Connection();
  const told = [];
  const watch = monitor(pc, { every_ms: 3_600_000, parent: 'K7Q4-M2XP', onreason: (reason) => told.push(`${reason.type} ${reason.code}`) });
  watch.addEventListener('figures', ({ detail }) => told.push(detail.connection));
  await watch.look();
  pc.stats = () => Promise.reject(new Error('not now'));
  await watch.look();
  pc.stats = () => Promise.resolve(new Map([['x', { id: 'x', type: 'inbound-rtp', kind: 'audio' }]]));
  pc.connectionState = 'failed';
  await watch.look();
  assert.deepEqual(told, ['failed', 'begin connection_lost']);
  assert.deepEqual(watch.active, ['connection_lost']);
  pc.connectionState = 'closed';
  await watch.look();
  assert.deepEqual([told.at(-1), watch.active], ['end connection_lost', []]);
  const { report: made, kept, not_sent } = await watch.end();
  assert.deepEqual([made.settings.asked.parent_code, made.parent, kept, not_sent], ['K7Q4-M2XP', null, null, 'not_asked']);
  assert.equal(made.settings.run.reasons[0].code, 'connection_lost');
  assert.equal((await watch.end({ send: true })).not_sent, 'no_notice');
});

test('a reason is said with its figures', () => {
  assert.equal(say(english, { code: 'loss_up', value: 0.034, unit: 'ratio' })[0], 'About 3.4 % of what you send is lost on the way.');
  assert.equal(say(english, { code: 'rtt_high', worst: 312.4, unit: 'ms' })[0], 'Answers take up to 312 ms, so people talk over each other.');
  assert.deepEqual(say(english, { code: 'another' }), ['another', null]);
});

const unpacked = (body) => new Response(body.stream().pipeThrough(new DecompressionStream('gzip'))).json();

test('a report is sent by a session of its own, or by the check link, and never unasked', async () => {
  const asked = [];
  const answers = { session: [200, { run: 'a grant' }], reports: [202, { status: 'accepted' }] };
  const { fetch } = globalThis;
  globalThis.fetch = async (url, { headers = {}, body }) => {
    const name = url.href.split('/').pop();
    asked.push([name, headers.Authorization, body && (await unpacked(body)).kind]);
    const [status, answer] = answers[name];
    return { ok: status < 300, status, json: async () => answer };
  };
  try {
    const ended = async (options, how) => {
      const watch = monitor(new Connection(), { every_ms: 3_600_000, ...options });
      return watch.end(how);
    };
    const both = { send: true, notice: true };
    for (const how of [undefined, { send: true }, { notice: true }]) assert.equal((await ended({}, how)).kept, null);
    assert.deepEqual(asked, []);
    const { kept, not_sent } = await ended({}, both);
    assert.deepEqual([kept.status, not_sent], ['accepted', null]);
    assert.deepEqual(asked.splice(0), [['session', undefined, undefined], ['reports', 'Bearer a grant', 'monitor']]);
    await ended({ link: 'gc_x' }, both);
    assert.deepEqual(asked.splice(0), [['reports', 'Bearer gc_x', 'monitor']]);
    answers.reports = [429, {}];
    assert.equal((await ended({}, both)).not_sent, 'busy');
    answers.session = [403, { type: 'urn:greenroom:problem:foreign-site' }];
    const { report: made, not_sent: why } = await ended({}, both);
    assert.deepEqual([why, made.kind], ['foreign', 'monitor'], 'what could not be sent is there still');
  } finally {
    globalThis.fetch = fetch;
  }
});
