// <greenroom-check>: asks, shows, measures, and says in one sentence whether a call will work.

import * as cameras from './camera.js';
import { list, open, openBoth, stop } from './devices.js';
import * as microphones from './microphone.js';
import { measure } from './network.js';
import { ServerError, send, session } from './server.js';
import * as speakers from './speaker.js';
import { en } from './words.js';

/** How long the picture is watched and the sound listened to. */
const WATCH_MS = 4_000;
const KINDS = ['camera', 'microphone', 'speaker'];

/** Makes an element with attributes and children; text is text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element && key !== 'list') element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

class GreenroomCheck extends HTMLElement {
  #words = en;
  #root = this.attachShadow({ mode: 'open' });
  #chosen = {};
  #streams = [];
  #running = false;
  #hidden = 0;
  #parts = {};

  connectedCallback() {
    if (this.#parts.main) return;
    this.#build();
    this.#visibility = () => { if (document.hidden && this.#running) this.#hidden += 1; };
    document.addEventListener('visibilitychange', this.#visibility);
  }

  disconnectedCallback() {
    document.removeEventListener('visibilitychange', this.#visibility);
    this.#release();
  }

  #visibility = () => {};

  /** Runs the check; settles with the report, or `null` when there is none. */
  async run() {
    if (this.#running) return null;
    this.#running = true;
    this.#hidden = document.hidden ? 1 : 0;
    this.#begin();
    try {
      const begun = await session();
      const began = performance.now();
      const found = await this.#look(begun);
      this.#say(this.#words.sending);
      const report = await send({ run: begun.run, duration_ms: performance.now() - began, browser: this.#browser(), ...found });
      this.#show(report);
      this.dispatchEvent(new CustomEvent('verdict', { detail: report, bubbles: true }));
      return report;
    } catch (error) {
      const reason = error instanceof ServerError ? error.reason : 'refused';
      this.#fail(this.#words.server[reason]);
      this.dispatchEvent(new CustomEvent('error', { detail: { reason } }));
      return null;
    } finally {
      this.#running = false;
      this.#parts.start.disabled = false;
      this.#parts.start.textContent = this.#words.again;
      this.#parts.start.hidden = false;
    }
  }

  #build() {
    const words = this.#words;
    const parts = this.#parts;
    parts.status = make('p', { role: 'status', className: 'quiet' });
    parts.start = make('button', { type: 'button', className: 'main', textContent: words.start });
    parts.start.addEventListener('click', () => { this.run(); });
    parts.result = make('section', { className: 'card verdict', hidden: true, tabIndex: -1, 'aria-live': 'polite', 'aria-label': 'Result' });
    parts.video = make('video', { muted: true, playsInline: true, className: 'mirror', 'aria-label': words.preview });
    parts.meter = make('meter', { min: -60, max: 0, low: -45, high: -3, optimum: -20, value: -60, 'aria-label': words.level });
    parts.camera = this.#card('camera', parts.video);
    parts.microphone = this.#card('microphone', parts.meter);
    parts.answers = make('div', { hidden: true });
    parts.speaker = this.#card('speaker', parts.answers);
    parts.network = this.#card('network');
    parts.devices = make('div', { className: 'devices', hidden: true }, ...[...KINDS, 'network'].map((kind) => parts[kind].card));
    parts.intro = make('div', {}, make('p', { textContent: words.intro }), make('p', { textContent: words.reason }));
    parts.main = make('div', {}, make('h1', { textContent: words.title }), parts.intro, make('p', {}, parts.start), parts.status, parts.result,
      parts.devices, make('p', { className: 'quiet', textContent: words.privacy }));
    const style = make('link', { rel: 'stylesheet', href: new URL('./check.css', import.meta.url).href });
    this.#root.append(style, parts.main);
  }

  /** A card with a heading, a line that says how it stands, and a choice of devices where there are several. */
  #card(kind, ...content) {
    const heading = make('h2', { textContent: this.#words[kind] });
    const state = make('p', { className: 'state', 'aria-live': 'polite' });
    const detail = make('p', { className: 'quiet' });
    const select = make('select');
    const label = make('label', { hidden: true }, this.#words.choose[kind] ?? '', select);
    select.addEventListener('change', () => { this.#choose(kind, select.value); });
    const card = make('section', { className: 'card', 'aria-label': this.#words[kind] }, heading, ...content, state, detail, label);
    return { card, state, detail, select, label };
  }

  #begin() {
    const parts = this.#parts;
    this.#release();
    parts.start.disabled = true;
    parts.start.hidden = true;
    parts.result.hidden = true;
    parts.intro.hidden = true;
    parts.devices.hidden = false;
    for (const kind of [...KINDS, 'network']) this.#set(kind, '', '');
    parts.answers.hidden = true;
    parts.video.hidden = true;
    parts.meter.hidden = true;
    this.#say(this.#words.asking);
  }

  async #look({ media, limits }) {
    this.#set('network', '', this.#words.connection.testing);
    const opened = await openBoth(this.#chosen);
    this.#say(this.#words.running);
    await this.#fillChoices();
    const network = measure(media).then((result) => this.#told(result));
    const [camera, microphone] = await Promise.all([this.#watch(opened.camera, limits), this.#listen(opened.microphone, limits)]);
    const speaker = await this.#play();
    return { camera, microphone, speaker, network: await network };
  }

  #told(result) {
    const words = this.#words.connection;
    const said = result.state === 'measured' ? words.tested : words[result.reason];
    this.#set('network', result.state === 'failed' ? 'bad' : '', said);
    return result;
  }

  async #watch(opened, limits) {
    if (typeof opened === 'string') return this.#barred('camera', opened, { frames: [], given: null, came: null });
    this.#streams.push(opened.stream);
    this.#parts.video.hidden = false;
    this.#set('camera', '', this.#words.watching);
    const found = await cameras.watch(opened.stream, this.#parts.video, WATCH_MS);
    const failure = found.ended ? 'ended' : null;
    const seen = failure ? null : cameras.seen(found.frames, limits.picture);
    const said = failure ? this.#words.failures.ended(this.#words.kinds.camera) : this.#words.pictures[seen];
    const quality = ['dark', 'overexposed'].includes(seen) ? 'fair' : 'bad';
    this.#set('camera', seen === 'picture' ? 'good' : quality, said);
    const { width, height } = found.given;
    this.#parts.camera.detail.textContent = this.#words.frames(width, height, cameras.rate(found));
    return { label: short(found.label), failure, first_ms: opened.first_ms, ran_ms: found.ran_ms, given: found.given, came: found.came, frames: found.frames };
  }

  async #listen(opened, limits) {
    const nothing = { rate_hz: null, samples: 0, squares: 0, offset: 0, least: 0, greatest: 0, clipped: 0, runs: 0, levels_dbfs: [] };
    if (typeof opened === 'string') return this.#barred('microphone', opened, nothing);
    this.#streams.push(opened.stream);
    const meter = this.#parts.meter;
    meter.hidden = false;
    this.#set('microphone', '', this.#words.speak);
    const found = await microphones.listen(opened.stream, WATCH_MS, (level) => { meter.value = level; });
    const failure = found.ended ? 'ended' : null;
    const heard = failure ? null : microphones.heard(found, limits.sound);
    const said = failure ? this.#words.failures.ended(this.#words.kinds.microphone) : this.#words.sounds[heard];
    const quality = ['too_quiet', 'clipped', 'noisy', 'nobody_spoke'].includes(heard) ? 'fair' : 'bad';
    this.#set('microphone', heard === 'speech' ? 'good' : quality, said);
    const { speech } = microphones.levels(found.levels_dbfs, limits.sound);
    this.#parts.microphone.detail.textContent = speech === null ? '' : this.#words.loudness(Math.abs(speech));
    const { ran_ms, rate_hz, samples, squares, offset, least, greatest, clipped, runs, levels_dbfs } = found;
    return { label: short(found.label), failure, first_ms: opened.first_ms, ran_ms, rate_hz, samples, squares, offset, least, greatest, clipped, runs, levels_dbfs };
  }

  #barred(kind, failure, nothing) {
    this.#set(kind, 'bad', this.#words.failures[failure](this.#words.kinds[kind]));
    return { label: '', failure, ran_ms: 0, ...nothing };
  }

  /** Plays the sound and asks; the person may play it again, or skip it. */
  #play() {
    const words = this.#words;
    const { answers, speaker } = this.#parts;
    return new Promise((resolve) => {
      const answer = (outcome) => {
        answers.hidden = true;
        answers.replaceChildren();
        const state = { heard: 'good', skipped: '' }[outcome] ?? 'bad';
        this.#set('speaker', state, words.speakers[outcome]);
        const picked = speaker.select.selectedOptions[0]?.textContent ?? '';
        resolve({ outcome, label: short(picked) });
      };
      const button = (text, action, kind = '') => {
        const it = make('button', { type: 'button', className: kind, textContent: text });
        it.addEventListener('click', action);
        return it;
      };
      const skip = button(words.skip, () => answer('skipped'));
      const play = button(words.play, async () => {
        play.disabled = true;
        this.#set('speaker', '', words.playing);
        const played = await speakers.play(this.#chosen.speaker);
        play.disabled = false;
        if (!played) {
          answer('failed');
          return;
        }
        this.#set('speaker', '', words.heard);
        const yes = button(words.yes, () => answer('heard'), 'main');
        answers.replaceChildren(yes, button(words.no, () => answer('unheard')), play, skip);
        yes.focus();
      }, 'main');
      answers.replaceChildren(play, skip);
      answers.hidden = false;
      play.focus();
    });
  }

  /** Another device was chosen: shown at once where it can be, and used by the next check. */
  async #choose(kind, id) {
    this.#chosen[kind] = id;
    if (kind !== 'camera' || this.#running) return;
    const opened = await open('camera', id);
    if (typeof opened === 'string') {
      this.#set('camera', 'bad', this.#words.failures[opened](this.#words.kinds.camera));
      return;
    }
    this.#release();
    this.#streams.push(opened.stream);
    this.#parts.video.srcObject = opened.stream;
    this.#parts.video.play().catch(() => {});
  }

  async #fillChoices() {
    for (const kind of KINDS) {
      const { select, label } = this.#parts[kind];
      const devices = kind === 'speaker' && !speakers.canChoose() ? [] : await list(kind);
      select.replaceChildren(...devices.map((device, index) => make('option', {
        value: device.deviceId,
        textContent: device.label || `${this.#words.unnamed[kind]} ${index + 1}`,
        selected: device.deviceId === this.#chosen[kind],
      })));
      label.hidden = devices.length < 2;
    }
  }

  #browser() {
    const platform = `${navigator.userAgentData?.platform ?? ''} ${navigator.userAgent}`;
    const system = [['Android', /android/i], ['iOS', /iphone|ipad/i], ['Windows', /windows/i], ['macOS', /mac/i], ['Linux', /linux|x11/i]];
    return {
      system: system.find(([, pattern]) => pattern.test(platform))?.[0] ?? '',
      isolated: self.crossOriginIsolated === true,
      hidden: this.#hidden,
    };
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

  #fail(text) {
    const { result } = this.#parts;
    this.#say('');
    result.className = 'card verdict inconclusive';
    result.replaceChildren(make('h2', { textContent: this.#words.verdicts.inconclusive }), make('p', { textContent: text }));
    result.hidden = false;
    result.focus();
  }

  /** Verdict and cause first, then figures, code and the report itself. */
  #show(report) {
    const words = this.#words;
    const { result } = this.#parts;
    const { overall, causes } = report.verdict;
    // Without a cause it says what to run on a command line, which is not at hand here.
    const uncaused = overall === 'inconclusive' && causes.every((cause) => cause.state === 'ready');
    const { say, fix } = uncaused ? { say: words.unsure, fix: words.unsure_fix } : report.verdict;
    const known = words.verdicts[overall] ? overall : 'inconclusive';
    const target = report.targets[0];
    const figures = [
      [words.rtt, target?.rtt_ms?.p50, words.ms],
      [words.loss_up, target?.up?.loss_ratio?.value, words.percent],
      [words.loss_down, target?.down?.loss_ratio?.value, words.percent],
    ].filter(([, value]) => typeof value === 'number');
    const rows = figures.flatMap(([name, value, as]) => [make('dt', { textContent: name }), make('dd', { textContent: as(value) })]);
    rows.push(make('dt', { textContent: words.code }), make('dd', { className: 'code', textContent: report.code }));
    const file = new Blob([JSON.stringify(report, null, 2)], { type: 'application/json' });
    const link = make('a', { className: 'button', href: URL.createObjectURL(file), download: `greenroom-${report.code}.json`, textContent: words.download });
    this.#say('');
    result.className = `card verdict ${known}`;
    result.replaceChildren(make('h2', { textContent: words.verdicts[known] }), ...[say, fix].filter(Boolean).map((text) => make('p', { textContent: text })),
      make('dl', {}, ...rows), link);
    result.hidden = false;
    result.focus();
  }

  #release() {
    this.#streams.forEach(stop);
    this.#streams = [];
  }
}

/** A device's name as far as it goes into a report. */
const short = (label) => [...label].slice(0, 200).join('').replace(/\p{Cc}/gu, ' ');

customElements.define('greenroom-check', GreenroomCheck);
