// <greenroom-check>: asks, shows, measures, and says in one sentence whether a call will work.

import { Check, CheckError, LOAD, check, system } from './check.js';
import { canChoose, list, open, permission, stop } from './devices.js';
import { tell } from './handoff.js';
import { browser, choose, fill, load, number, translated } from './language.js';
import * as memory from './memory.js';
import { Server } from './server.js';
import { sheet } from './style.js';

export { CheckError, check };

const KINDS = ['camera', 'microphone', 'speaker'];
/** What a check sends and receives at most, both ways: what fills the connection, and some for the packets before. */
const MOST_MB = Math.ceil((2 * LOAD.bytes) / 1e6) + 8;
/** What a browser can do, as far as it is shown. */
const SHOWN = ['secure_context', 'cross_origin_isolated', 'web_rtc', 'web_transport', 'web_codecs', 'screen_capture', 'speaker_choice'];

/** Makes an element with attributes and children; text is text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element && key !== 'list' && key !== 'part') element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export class GreenroomCheck extends HTMLElement {
  static observedAttributes = ['lang'];

  #root = this.attachShadow({ mode: 'open' });
  #words = null;
  /** What became of the ways that were tried, and of the trial call. */
  #connection = { ways: '', trial: '' };
  #language = 'en';
  #chosen = {};
  #run = null;
  #preview = null;
  #last = null;
  #known = null;
  #parts = {};
  #ready = null;
  #changed = () => this.#devicesChanged();

  /** Called with what `verdict` tells, for who would rather not listen to events. */
  onverdict = null;

  connectedCallback() {
    navigator.mediaDevices?.addEventListener('devicechange', this.#changed);
    this.#ready ??= this.#begin();
  }

  disconnectedCallback() {
    navigator.mediaDevices?.removeEventListener('devicechange', this.#changed);
    this.stop();
    this.#release();
  }

  attributeChangedCallback(name, before, now) {
    if (this.#ready && before !== now && !this.#run) this.#ready = this.#begin();
  }

  /** Runs the check; settles with the report, or `null` when there is none. */
  async run() {
    try {
      this.#ready ??= this.#begin();
      await this.#ready;
    } catch {
      // Without words there is nothing to show.
      this.#send('error', { reason: 'offline' });
      return null;
    }
    return this.#check({});
  }

  /** Stops a check that runs. */
  stop() {
    this.#run?.stop();
  }

  /** The last check's report; `null` before there is one. */
  report() {
    return this.#last?.report ?? null;
  }

  get #kinds() {
    const wanted = (this.getAttribute('devices') ?? KINDS.join(' ')).split(/[\s,]+/);
    return KINDS.filter((kind) => wanted.includes(kind));
  }

  /** `null` where the endpoint is no address. */
  get #server() {
    try {
      return new Server(this.getAttribute('endpoint') ?? undefined);
    } catch {
      return null;
    }
  }

  async #begin() {
    const around = this.getAttribute('lang') ?? this.parentElement?.closest('[lang]')?.lang;
    this.#language = choose([around, ...(navigator.languages ?? [])]);
    this.#words = await load(this.#language);
    this.#build();
    this.#offer().catch(() => {});
  }

  async #check(more) {
    if (this.#run) return null;
    this.#release();
    let run = null;
    try {
      run = this.#made(more);
      this.#run = run;
      this.#began();
      const result = await run.run();
      await this.#done(result);
      return result.report;
    } catch (error) {
      const reason = error instanceof CheckError ? error.reason : 'refused';
      this.#fail(this.#words.server[reason]);
      this.#send('error', { reason });
      return null;
    } finally {
      run?.release();
      this.#run = null;
      this.#parts.start.hidden = false;
      this.#parts.start.textContent = this.#words.again;
      // What is switched off has nothing to show.
      for (const part of ['stop', 'answers', 'sharing', 'video', 'meter']) this.#parts[part].hidden = true;
    }
  }

  #made(more) {
    return new Check({
      endpoint: this.getAttribute('endpoint') ?? undefined,
      link: this.getAttribute('link') ?? undefined,
      for: this.getAttribute('for') ?? undefined,
      devices: this.#kinds,
      screen: this.hasAttribute('screen'),
      send: this.getAttribute('send') ?? undefined,
      chosen: this.#chosen,
      video: this.#parts.video,
      keep: true,
      onprogress: (detail) => this.#progress(detail),
      onlevel: (level) => { this.#parts.meter.value = level; },
      onearly: (result) => this.#early(result),
      answer: (asked) => (asked.question === 'speaker' ? this.#askSpeaker(asked) : this.#askScreen(asked)),
      ...more,
    });
  }

  /** A first verdict, by which who wants to may join; the connection's own limits are still looked for. */
  #early(result) {
    this.#last = result;
    this.#show(result, true);
    this.#send('early', this.#detail(result));
  }

  #detail({ report, network, embedders, machine, ...handed }) {
    return { ...handed, report };
  }

  async #done(result) {
    this.#last = result;
    const good = result.verdict === 'ready';
    const devices = await memory.devicesNow();
    memory.remember({ devices, network: result.network, good, chosen: result.devices, want: this.getAttribute('for') });
    const detail = this.#detail(result);
    this.#show(result);
    this.#send('verdict', detail);
    // What goes wrong in there is not this check's failure.
    queueMicrotask(() => this.onverdict?.(detail));
    const { report, ...handed } = detail;
    tell(this.getAttribute('hand-off'), result.embedders, { event: 'verdict', ...handed });
  }

  #send(name, detail) {
    // `error` stays here: a page that listens for errors of scripts would take it for one.
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: name !== 'error', composed: name !== 'error' }));
  }

  /** Who was here before with the same devices on the same network needs two seconds. */
  async #offer() {
    if (memory.isEmpty()) return;
    const states = await Promise.all(this.#kinds.filter((kind) => kind !== 'speaker').map(permission));
    if (!states.every((state) => state === 'granted')) return;
    const { network } = await this.#server.session();
    const known = memory.recall(await memory.devicesNow(), network);
    if (!known || this.#run || this.#last) return;
    const when = new Date(known.at).toLocaleString(this.#language === 'ar' ? 'ar-u-nu-latn' : this.#language, { dateStyle: 'medium', timeStyle: 'short' });
    const again = make('button', { type: 'button', className: 'main', part: 'button same', textContent: this.#words.same });
    again.addEventListener('click', () => this.#recheck(known));
    this.#parts.start.classList.remove('main');
    this.#parts.known.replaceChildren(make('p', { textContent: fill(this.#words.same_detail, { when }) }), make('p', { className: 'row' }, again));
    this.#parts.known.hidden = false;
  }

  async #recheck(known) {
    const kept = Object.fromEntries(Object.entries(known.chosen ?? {}).filter(([, id]) => id));
    Object.assign(this.#chosen, kept);
    const report = await this.#check({ quick: true, chosen: { ...this.#chosen } });
    if (report && this.#last?.verdict === 'ready') this.#join();
  }

  #join() {
    // Who joins needs the connection for that.
    this.stop();
    const { report, ...handed } = this.#detail(this.#last);
    this.#send('join', { ...handed, report });
    tell(this.getAttribute('hand-off'), this.#last.embedders, { event: 'join', ...handed });
  }

  async #devicesChanged() {
    const lists = await Promise.all(KINDS.map(list));
    const detail = Object.fromEntries(KINDS.map((kind, n) => [kind, lists[n].map(({ deviceId, label }) => ({ deviceId, label }))]));
    if (this.#words) await this.#fillChoices();
    this.#send('devices', detail);
  }

  #build() {
    const words = this.#words;
    const parts = {};
    this.#parts = parts;
    parts.status = make('p', { role: 'status', className: 'quiet', part: 'status' });
    parts.spoken = make('p', { role: 'status', className: 'spoken' });
    parts.start = make('button', { type: 'button', className: 'main', part: 'button start', textContent: words.start });
    parts.start.addEventListener('click', () => { this.run(); });
    parts.stop = make('button', { type: 'button', part: 'button stop', hidden: true, textContent: words.stop });
    parts.stop.addEventListener('click', () => this.stop());
    parts.known = make('section', { className: 'card', part: 'card known', hidden: true, 'aria-label': words.same });
    parts.result = make('section', { className: 'card verdict', part: 'card verdict', hidden: true, tabIndex: -1, 'aria-label': words.result });
    parts.video = make('video', { muted: true, playsInline: true, className: 'mirror', part: 'video', 'aria-label': words.preview });
    parts.meter = make('meter', { min: -60, max: 0, low: -45, high: -3, optimum: -20, value: -60, part: 'meter', 'aria-label': words.level });
    parts.bars = make('div', { className: 'bars', part: 'strength', role: 'img', hidden: true }, ...[1, 2, 3, 4].map(() => make('i')));
    parts.answers = make('div', { hidden: true });
    parts.sharing = make('div', { hidden: true });
    const content = { camera: [parts.video], microphone: [parts.meter], speaker: [parts.answers], network: [parts.bars], screen: [parts.sharing] };
    for (const kind of Object.keys(content)) parts[kind] = this.#card(kind, ...content[kind]);
    const shown = [...this.#kinds, 'network', ...(this.hasAttribute('screen') ? ['screen'] : [])];
    parts.devices = make('div', { className: 'devices', part: 'devices', hidden: true }, ...shown.map((kind) => parts[kind].card));
    parts.intro = make('div', { part: 'intro' }, make('slot', { name: 'intro' }, make('p', { textContent: words.intro }), make('p', { textContent: words.reason })), make('p', { className: 'state bad', hidden: true }));
    parts.computer = make('details', { part: 'computer', hidden: true }, make('summary', { textContent: words.computer }), make('dl'));
    const host = this.#server?.base.host ?? this.getAttribute('endpoint');
    const privacy = this.getAttribute('send') === 'devices' ? words.privacy_sent : words.privacy;
    parts.privacy = make('p', { className: 'quiet', part: 'privacy' }, make('slot', { name: 'privacy' }, fill(privacy, { host })), ' ', fill(words.data, { n: number(this.#language, MOST_MB) }));
    parts.main = make('div', { dir: words.dir, lang: this.#language, part: 'main' },
      make('h1', { part: 'title' }, make('slot', { name: 'title' }, words.title)), parts.intro, parts.privacy, parts.known,
      make('p', { className: 'row' }, parts.start, parts.stop), parts.status, parts.spoken, parts.result, parts.devices, parts.computer, make('slot', { name: 'after' }));
    this.#root.adoptedStyleSheets = [sheet()];
    this.#root.replaceChildren(parts.main);
    this.#warn();
  }

  /** What was blocked before is told before anybody clicks. */
  async #warn() {
    const [hint] = [this.#parts.intro.lastElementChild];
    for (const kind of this.#kinds.filter((one) => one !== 'speaker')) {
      if (await permission(kind) !== 'denied') continue;
      hint.textContent = fill(this.#words.blocked_before, this.#values(kind));
      hint.hidden = false;
      return;
    }
  }

  #values(kind) {
    const settings = this.#words.system_settings;
    const name = system();
    return { what: this.#words.kinds[kind], allow: this.#words.allow[browser()], privacy: settings[name] ?? settings.other };
  }

  /** A card with a heading, a line that says how it stands, and a choice of devices where there are several. */
  #card(kind, ...content) {
    const heading = make('h2', { textContent: this.#words[kind] });
    const state = make('p', { className: 'state', part: 'state', 'aria-live': 'polite' });
    const detail = make('p', { className: 'quiet' });
    const select = make('select', { part: 'select' });
    const label = make('label', { hidden: true }, this.#words.choose[kind] ?? '', select);
    select.addEventListener('change', () => { this.#choose(kind, select.value); });
    const card = make('section', { className: 'card', part: `card ${kind}`, 'aria-label': this.#words[kind] }, heading, ...content, state, detail, label);
    return { card, state, detail, select, label };
  }

  #began() {
    const parts = this.#parts;
    for (const part of ['start', 'result', 'intro', 'known', 'computer', 'answers', 'sharing', 'video', 'meter', 'bars']) parts[part].hidden = true;
    parts.spoken.textContent = '';
    parts.stop.hidden = false;
    parts.devices.hidden = false;
    for (const kind of [...KINDS, 'network', 'screen']) this.#set(kind, '', '');
    this.#connection = { ways: '', trial: '' };
    parts.stop.focus();
  }

  #progress(detail) {
    const { step, state, code, failure, figures } = detail;
    const words = this.#words;
    this.#send('progress', detail);
    if (step === 'permission') {
      this.#say(state === 'asking' ? words.asking : words.running);
      if (state === 'done') this.#devicesChanged();
      return;
    }
    if (step === 'sending') this.#say(words.sending);
    if (step === 'computer') this.#computer(figures);
    if (step === 'media') this.#media(figures);
    if (step === 'camera' && state === 'sizes') this.#sizes(figures);
    if (detail.strength !== undefined) this.#bars(detail.strength);
    const texts = { camera: { watching: words.watching, ...words.pictures }, microphone: { speak: words.speak, ...words.sounds }, speaker: { play: words.play_reason, playing: words.playing, ...words.speakers }, network: words.connection, screen: { share: words.share_reason, watching: words.watching, ...words.screens } }[step];
    if (!texts || state === 'sizes') return;
    if (step === 'camera') this.#parts.video.hidden = Boolean(failure);
    if (step === 'microphone') this.#parts.meter.hidden = Boolean(failure);
    const text = failure ? fill(words.failures[failure], this.#values(step)) : texts[code];
    const quality = { good: 'good', fair: 'fair', bad: 'bad' }[state] ?? '';
    if (detail.strength === undefined) this.#set(step, quality, text ?? '');
    const n = (value, digits) => number(this.#language, value, digits);
    const more = {
      camera: () => fill(words.frames, { width: figures.width, height: figures.height, rate: n(figures.rate, 1) }),
      microphone: () => (figures.speech === null ? '' : fill(words.loudness, { level: n(Math.abs(figures.speech)) })),
      speaker: () => fill(words.echo, { delay: n(figures.delay_ms), level: n(figures.return_db) }),
    }[step];
    if (figures && more && state !== 'running') this.#parts[step].detail.textContent = more();
    if (step === 'network') this.#connected({ ways: figures ? this.#ways(figures) : this.#connection.ways });
  }

  /** What is known of the connection besides its state, whatever that becomes. */
  #connected(more) {
    Object.assign(this.#connection, more);
    this.#parts.network.detail.textContent = Object.values(this.#connection).filter(Boolean).join(' · ');
  }

  /** What became of each way that was tried beside the direct one, the same together. */
  #ways({ ways, udp_ports }) {
    const { ways: words, ms } = this.#words;
    const told = new Map([['works', []], ['blocked', udp_ports.map((port) => `UDP ${port}`)]]);
    for (const { way, port, outcome, rtt_ms } of ways) {
      const key = words[outcome] ? outcome : 'other';
      const name = `${way === 'websocket' ? 'WebSocket' : way.replace('-', '/').toUpperCase()} ${port}`;
      told.set(key, [...(told.get(key) ?? []), rtt_ms === null ? name : `${name} (${fill(ms, { n: number(this.#language, rtt_ms) })})`]);
    }
    return [...told].filter(([, names]) => names.length > 0).map(([key, names]) => `${words[key]}: ${names.join(', ')}`).join(' · ');
  }

  /** Plays when the person says so. Where the microphone has not heard it, the person is asked. */
  #askSpeaker({ play }) {
    const words = this.#words;
    const { answers } = this.#parts;
    return new Promise((resolve) => {
      const end = (outcome) => {
        answers.hidden = true;
        answers.replaceChildren();
        resolve(outcome);
      };
      const skip = this.#button(words.skip, () => end('skipped'));
      const again = this.#button(words.play, async () => {
        again.disabled = true;
        const came = await play();
        again.disabled = false;
        if (came !== 'played') {
          end(came);
          return;
        }
        this.#set('speaker', '', words.heard);
        const yes = this.#button(words.yes, () => end('heard'), 'main');
        again.className = '';
        this.#row(answers, yes, this.#button(words.no, () => end('unheard')), again, skip);
        yes.focus();
      }, 'main');
      this.#row(answers, again, skip);
      again.focus();
    });
  }

  #askScreen({ share }) {
    const { sharing } = this.#parts;
    return new Promise((resolve) => {
      const end = (outcome) => {
        sharing.hidden = true;
        sharing.replaceChildren();
        resolve(outcome);
      };
      const begin = this.#button(this.#words.share, async () => {
        begin.disabled = true;
        end(await share());
      }, 'main');
      this.#row(sharing, begin, this.#button(this.#words.skip, () => end('skipped')));
      begin.focus();
    });
  }

  #row(place, ...buttons) {
    place.replaceChildren(make('div', { className: 'row' }, ...buttons));
    place.hidden = false;
  }

  #button(text, action, kind = '') {
    const it = make('button', { type: 'button', className: kind, part: 'button', textContent: text });
    it.addEventListener('click', action);
    return it;
  }

  /** Another device was chosen: shown at once where it can be, and used by the next check. */
  async #choose(kind, id) {
    this.#chosen[kind] = id;
    if (kind !== 'camera' || this.#run) return;
    const opened = await open('camera', id);
    if (typeof opened === 'string') {
      this.#set('camera', 'bad', fill(this.#words.failures[opened], this.#values('camera')));
      return;
    }
    this.#release();
    this.#preview = opened.stream;
    this.#parts.video.hidden = false;
    this.#parts.video.srcObject = opened.stream;
    this.#parts.video.play().catch(() => {});
  }

  async #fillChoices() {
    for (const kind of this.#kinds) {
      const { select, label } = this.#parts[kind];
      const devices = kind === 'speaker' && !canChoose() ? [] : await list(kind);
      select.replaceChildren(...devices.map((device, index) => make('option', {
        value: device.deviceId,
        textContent: device.label || `${this.#words.unnamed[kind]} ${index + 1}`,
        selected: device.deviceId === this.#chosen[kind],
      })));
      label.hidden = devices.length < 2;
    }
  }

  #set(kind, quality, text) {
    const { state, detail } = this.#parts[kind];
    state.className = `state ${quality}`;
    state.textContent = text;
    detail.textContent = '';
  }

  #say(text) {
    this.#parts.status.textContent = text;
  }

  #bars(strength) {
    const { bars } = this.#parts;
    bars.hidden = strength === null;
    if (strength === null) return;
    bars.ariaLabel = fill(this.#words.strength, { bars: strength });
    [...bars.children].forEach((bar, n) => { bar.className = n < strength ? 'on' : ''; });
  }

  #computer({ can, cores, memory_gb, software_drawing, encode }) {
    const words = this.#words;
    const n = (value, digits) => number(this.#language, value, digits);
    const told = SHOWN.map((name) => [words.can[name], words.yes_no[can[name]]]);
    if (software_drawing !== null) told.push([words.can.acceleration, words.yes_no[!software_drawing]]);
    if (cores !== null) told.push([words.can.cores, n(cores)]);
    if (memory_gb !== null) told.push([words.can.memory, fill(words.gigabytes, { n: n(memory_gb, 1) })]);
    told.push(...encode.map((run) => [fill(words.can.encode, run), fill(words.times, { n: n(run.times_real_time, 1) })]));
    this.#parts.computer.lastElementChild.replaceChildren(...this.#rows(told));
    this.#parts.computer.hidden = false;
  }

  /** How much of a trial call's sound and picture came back. */
  #media({ state, streams = [], there }) {
    const { trial, percent } = this.#words;
    const share = (kind) => {
      const [here, came, back] = [streams, there?.received, there?.returned].map((some) => some?.find(({ media }) => media === kind));
      // Each way for itself: padding counts on the way out and is not sent back.
      return here?.sent_packets && fill(percent, { n: number(this.#language, ((came?.packets ?? 0) / here.sent_packets) * (here.received_packets / (back?.sent_packets || 1)) * 100, 1) });
    };
    const [audio, video] = ['audio', 'video'].map(share);
    if (state === 'failed') this.#connected({ trial: trial.none });
    if (audio) this.#connected({ trial: fill(video ? trial.both : trial.audio, { audio, video }) });
  }

  #sizes(sizes) {
    const words = this.#words;
    const told = sizes.map(({ lines, given, came_fps }) => [
      fill(words.can.size, { lines }),
      given ? fill(words.size, { width: given.width, height: given.height, rate: number(this.#language, came_fps, 1) }) : words.no_size,
    ]);
    this.#parts.computer.lastElementChild.append(...this.#rows(told));
  }

  #rows(told) {
    return told.flatMap(([name, value]) => [make('dt', { textContent: name }), make('dd', { textContent: value })]);
  }

  #fail(text) {
    this.#say('');
    this.#result('inconclusive', make('p', { textContent: text }));
  }

  #result(state, ...content) {
    const { result, spoken } = this.#parts;
    const shown = !result.hidden;
    result.className = `card verdict ${state}`;
    result.replaceChildren(make('h2', { textContent: this.#words.verdicts[state] }), ...content);
    result.hidden = false;
    // For who hears the page: heading and sentences, without the figures.
    const text = [...result.querySelectorAll('h2, p, li')].map((one) => one.textContent).join(' ');
    // Who reads a first verdict is not called away where the last one says the same.
    if (!shown || spoken.textContent !== text) {
      spoken.textContent = text;
      result.focus();
    }
  }

  /** Verdict and cause first, then what else there is, figures, code and the report itself. */
  #show(found, early = false) {
    const words = this.#words;
    const { report } = found;
    const overall = found.may_join && report.verdict.overall === 'blocked' ? 'degraded' : report.verdict.overall;
    const known = words.verdicts[overall] ? overall : 'inconclusive';
    const { say, fix, others } = this.#sentences(report.verdict, known);
    const n = (value, digits) => number(this.#language, value, digits);
    const target = report.targets[0];
    const figures = [
      [words.rtt, target?.rtt_ms?.p50, (ms) => fill(words.ms, { n: n(ms, 1) })],
      [words.loss_up, target?.up?.loss_ratio?.value, (ratio) => fill(words.percent, { n: n(ratio * 100, 1) })],
      [words.loss_down, target?.down?.loss_ratio?.value, (ratio) => fill(words.percent, { n: n(ratio * 100, 1) })],
      ...this.#filled(target, n),
    ].filter(([, value]) => typeof value === 'number').map(([name, value, as]) => [name, as(value)]);
    const code = make('dd', { className: 'code', textContent: report.code });
    const file = new Blob([JSON.stringify(report, null, 2)], { type: 'application/json' });
    const save = early ? '' : make('a', { className: 'button', part: 'button download', href: URL.createObjectURL(file), download: `greenroom-${report.code}.json`, textContent: words.download });
    const gate = this.getAttribute('gate');
    const join = gate === null || (!found.may_join && gate !== 'soft') ? [] : [this.#button(found.may_join ? words.join : words.anyway, () => this.#join(), found.may_join ? 'main' : '')];
    this.#say(early ? words.connection.loading : '');
    this.#bars(found.strength);
    const also = others.length === 0 ? [] : [make('p', { textContent: words.also }), make('ul', {}, ...others.map((text) => make('li', { textContent: text })))];
    this.#result(known, ...[say, fix].filter(Boolean).map((text) => make('p', { textContent: text })), ...also,
      make('dl', {}, ...this.#rows(figures), ...(early ? [] : [make('dt', { textContent: words.code }), code])), make('div', { className: 'row' }, ...join, save));
  }

  /** How much the connection carries, and how much longer answers take meanwhile. */
  #filled(target, n) {
    const words = this.#words;
    const rate = (found) => (bps) => fill(found.at_least ? words.at_least : words.mbps, { n: n(bps / 1e6, bps < 10e6 ? 1 : 0) });
    const longer = (ms) => fill(words.ms, { n: n(Math.max(0, ms)) });
    const { up, down, loaded } = target ?? {};
    return [
      [words.capacity_up, up?.capacity_bps?.value, rate(up?.capacity_bps ?? {})],
      [words.capacity_down, down?.capacity_bps?.value, rate(down?.capacity_bps ?? {})],
      [words.loaded_up, loaded?.saturated_up_ms?.value, longer],
      [words.loaded_down, loaded?.saturated_down_ms?.value, longer],
    ];
  }

  /** The verdict's sentences in the person's language, by their causes' codes. */
  #sentences(verdict, known) {
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

  #release() {
    if (this.#preview) stop(this.#preview);
    this.#preview = null;
  }
}

if (!customElements.get('greenroom-check')) customElements.define('greenroom-check', GreenroomCheck);
