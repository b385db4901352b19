// What was found, in the person's language: names with values, and sentences.

import { fill, number, translated } from './language.js';

/** What a browser can do, as far as it is shown. */
const SHOWN = ['secure_context', 'cross_origin_isolated', 'web_rtc', 'web_transport', 'web_codecs', 'screen_capture', 'speaker_choice'];
const RENDERERS = { canvas: 'Canvas', webgl: 'WebGL', webgpu: 'WebGPU' };

/** Words of one language. What stands in rows is a list of names with their values. */
export class Telling {
  #words;
  #language;

  constructor(words, language) {
    this.#words = words;
    this.#language = language;
  }

  /** A number as the language writes it. */
  n(value, digits) {
    return number(this.#language, value, digits);
  }

  /** The connection's figures, as far as they were measured. */
  figures(target) {
    const words = this.#words;
    const ms = (value) => fill(words.ms, { n: this.n(value, 1) });
    const share = (ratio) => fill(words.percent, { n: this.n(ratio * 100, 1) });
    const rows = [
      [words.rtt, target?.rtt_ms?.p50, ms],
      [words.loss_up, target?.up?.loss_ratio?.value, share],
      [words.loss_down, target?.down?.loss_ratio?.value, share],
      ...this.#filled(target ?? {}),
    ];
    return rows.filter(([, value]) => typeof value === 'number').map(([name, value, as]) => [name, as(value)]);
  }

  /** How much the connection carries, and how much longer answers take meanwhile. */
  #filled({ up, down, loaded }) {
    const words = this.#words;
    const rate = (found) => (bps) => fill(found.at_least ? words.at_least : words.mbps, { n: this.n(bps / 1e6, bps < 10e6 ? 1 : 0) });
    const longer = (ms) => fill(words.ms, { n: this.n(Math.max(0, ms)) });
    return [
      [words.capacity_up, up?.capacity_bps?.value, rate(up?.capacity_bps ?? {})],
      [words.capacity_down, down?.capacity_bps?.value, rate(down?.capacity_bps ?? {})],
      [words.loaded_up, loaded?.saturated_up_ms?.value, longer],
      [words.loaded_down, loaded?.saturated_down_ms?.value, longer],
    ];
  }

  /** The computer and the browser. */
  computer({ can, cores, memory_gb, software_drawing, encode, drawing, effects }) {
    const words = this.#words;
    const rows = SHOWN.map((name) => [words.can[name], words.yes_no[can[name]]]);
    if (software_drawing !== null) rows.push([words.can.acceleration, words.yes_no[!software_drawing]]);
    if (cores !== null) rows.push([words.can.cores, this.n(cores)]);
    if (memory_gb !== null) rows.push([words.can.memory, fill(words.gigabytes, { n: this.n(memory_gb, 1) })]);
    rows.push(...encode.map((run) => [fill(words.can.encode, run), this.#times(run)]));
    rows.push(...drawing.map((run) => [fill(words.can.drawing, { ...run, renderer: RENDERERS[run.renderer] }), this.#times(run)]));
    if (effects) rows.push([fill(words.can.effects, effects), this.#times(effects)]);
    return rows;
  }

  #times({ times_real_time }) {
    return times_real_time === null ? this.#words.no_times : fill(this.#words.times, { n: this.n(times_real_time, 1) });
  }

  /** The sizes that the camera was asked for. */
  sizes(sizes) {
    const words = this.#words;
    return sizes.map(({ lines, given, came_fps }) => [
      fill(words.can.size, { lines }),
      given ? fill(words.size, { width: given.width, height: given.height, rate: this.n(came_fps, 1) }) : words.no_size,
    ]);
  }

  /** The application's own files. */
  assets(assets) {
    const words = this.#words.assets;
    return assets.map(({ url, outcome, status, took_ms, octets, cached }) => {
      const how = { loaded: cached ? words.cached : octets === null ? words.loaded : words.sized }[outcome] ?? words[outcome];
      return [fill(words.file, { name: url.split('/').pop() || url }), fill(how, { ms: this.n(took_ms ?? 0), kb: this.n((octets ?? 0) / 1000), status })];
    });
  }

  /** What became of each way that was tried beside the direct one, the same together. */
  ways({ ways, udp_ports }) {
    const { ways: words, ms } = this.#words;
    const told = new Map([['works', []], ['blocked', udp_ports.map((port) => `UDP ${port}`)]]);
    for (const { way, port, outcome, rtt_ms } of ways) {
      const key = words[outcome] ? outcome : 'other';
      const name = `${way === 'websocket' ? 'WebSocket' : way.replace('-', '/').toUpperCase()} ${port}`;
      told.set(key, [...(told.get(key) ?? []), rtt_ms === null ? name : `${name} (${fill(ms, { n: this.n(rtt_ms) })})`]);
    }
    return [...told].filter(([, names]) => names.length > 0).map(([key, names]) => `${words[key]}: ${names.join(', ')}`).join(' · ');
  }

  /** How much of a trial call's sound and picture came back; `null` where that says nothing. */
  trial({ state, streams = [], there }) {
    const { trial, percent } = this.#words;
    const share = (kind) => {
      const [here, came, back] = [streams, there?.received, there?.returned].map((some) => some?.find(({ media }) => media === kind));
      // Each way for itself: padding counts on the way out and is not sent back.
      return here?.sent_packets && fill(percent, { n: this.n(((came?.packets ?? 0) / here.sent_packets) * (here.received_packets / (back?.sent_packets || 1)) * 100, 1) });
    };
    const [audio, video] = ['audio', 'video'].map(share);
    if (state === 'failed') return trial.none;
    return audio ? fill(video ? trial.both : trial.audio, { audio, video }) : null;
  }

  /** A verdict's sentences, by their causes' codes. */
  sentences(verdict, known) {
    const words = this.#words;
    const { overall, causes } = verdict;
    // Without a cause it says what to run on a command line, which is not at hand here.
    if (overall === 'inconclusive' && causes.every((cause) => cause.state === 'ready')) return { say: words.unsure, fix: words.unsure_fix, others: [] };
    const leading = causes.find((cause) => cause.say === verdict.say);
    const others = causes.filter((cause) => cause !== leading && cause.state !== 'ready');
    const english = this.#language === 'en';
    const of = (cause) => (english ? cause : translated(cause, words, this.#language) ?? cause);
    const said = leading ? of(leading) : { say: english ? verdict.say : words.says[known], fix: verdict.fix };
    return { say: said.say, fix: said.fix, others: others.map((cause) => of(cause).say) };
  }
}
