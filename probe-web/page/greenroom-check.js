// <greenroom-check>: asks, shows, measures, and says in one sentence whether a call will work.

import { Check, CheckError, LOAD, check, system } from './check.js';
import { canChoose, list, open, permission, stop } from './devices.js';
import { button, make, row } from './dom.js';
import { tell } from './handoff.js';
import { Hearing } from './hearing.js';
import { browser, choose, fill, load } from './language.js';
import * as memory from './memory.js';
import { Server } from './server.js';
import { sheet } from './style.js';
import { Telling } from './telling.js';

export { CheckError, check };

const KINDS = ['camera', 'microphone', 'speaker'];
/** What a check sends and receives at most, both ways: what fills the connection, and some for the packets before. */
const MOST_MB = Math.ceil((2 * LOAD.bytes) / 1e6) + 8;

export class GreenroomCheck extends HTMLElement {
  static observedAttributes = ['lang'];

  #root = this.attachShadow({ mode: 'open' });
  #words = null;
  #telling = null;
  /** What became of the ways that were tried, and of the trial call. */
  #connection = { ways: '', trial: '' };
  #language = 'en';
  #chosen = {};
  #run = null;
  #preview = null;
  /** What draws the picture, if somebody asked for another renderer than the video element. */
  #drawn = null;
  /** Of whom it is what draws: who came later has taken its place. */
  #drawing = null;
  /** Whether the last check could listen to the microphone. */
  #isHeard = false;
  #hearing = null;
  /** The application's own files, if it named any. */
  #assets = null;
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
    this.#assets?.begin();
  }

  disconnectedCallback() {
    navigator.mediaDevices?.removeEventListener('devicechange', this.#changed);
    this.stop();
    this.#hearing?.stop();
    this.#assets?.hold();
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

  /** The application's own files. */
  get #named() {
    return (this.getAttribute('assets') ?? '').split(/\s+/).filter(Boolean);
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
    this.#telling = new Telling(this.#words, this.#language);
    this.#build();
    this.#warmUp().catch(() => {});
    this.#offer().catch(() => {});
  }

  async #check(more) {
    if (this.#run) return null;
    this.#hearing?.stop();
    this.#assets?.hold();
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
      for (const part of ['stop', 'answers', 'sharing', 'picture', 'meter']) this.#parts[part].hidden = true;
      this.#undraw();
      if (this.#isHeard) this.#offerHearing();
      // What a check that was short or was stopped has left.
      if (this.isConnected) this.#assets?.begin();
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
      preview: { told: () => this.#drawn?.told() ?? null },
      assets: this.#assets ?? (this.#named.length > 0 ? this.#named : undefined),
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
    parts.picture = make('div', {}, parts.video);
    parts.meter = make('meter', { min: -60, max: 0, low: -45, high: -3, optimum: -20, value: -60, part: 'meter', 'aria-label': words.level });
    parts.bars = make('div', { className: 'bars', part: 'strength', role: 'img', hidden: true }, ...[1, 2, 3, 4].map(() => make('i')));
    parts.hearing = make('div', { hidden: true });
    parts.answers = make('div', { hidden: true });
    parts.sharing = make('div', { hidden: true });
    const content = { camera: [parts.picture], microphone: [parts.meter], speaker: [parts.answers], network: [parts.bars], screen: [parts.sharing] };
    for (const kind of Object.keys(content)) parts[kind] = this.#card(kind, ...content[kind]);
    parts.microphone.card.append(parts.hearing);
    this.#hearing?.stop();
    this.#hearing = new Hearing({ place: parts.hearing, meter: parts.meter, words });
    const shown = [...this.#kinds, 'network', ...(this.hasAttribute('screen') ? ['screen'] : [])];
    parts.devices = make('div', { className: 'devices', part: 'devices', hidden: true }, ...shown.map((kind) => parts[kind].card));
    parts.intro = make('div', { part: 'intro' }, make('slot', { name: 'intro' }, make('p', { textContent: words.intro }), make('p', { textContent: words.reason })), make('p', { className: 'state bad', hidden: true }));
    parts.computer = make('details', { part: 'computer', hidden: true }, make('summary', { textContent: words.computer }), make('dl'));
    const host = this.#server?.base.host ?? this.getAttribute('endpoint');
    const privacy = this.getAttribute('send') === 'devices' ? words.privacy_sent : words.privacy;
    parts.privacy = make('p', { className: 'quiet', part: 'privacy' }, make('slot', { name: 'privacy' }, fill(privacy, { host })), ' ', fill(this.#named.length > 0 ? words.data_assets : words.data, { n: this.#telling.n(MOST_MB) }));
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
    for (const part of ['start', 'result', 'intro', 'known', 'computer', 'answers', 'sharing', 'picture', 'meter', 'bars']) parts[part].hidden = true;
    parts.spoken.textContent = '';
    parts.stop.hidden = false;
    parts.devices.hidden = false;
    for (const kind of [...KINDS, 'network', 'screen']) this.#set(kind, '', '');
    this.#connection = { ways: '', trial: '' };
    this.#isHeard = false;
    parts.computer.lastElementChild.replaceChildren();
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
    if (step === 'assets' && state === 'running') this.#say(words.assets.running);
    if (step === 'computer') this.#found(this.#telling.computer(figures));
    if (step === 'media') this.#connected({ trial: this.#telling.trial(figures) ?? this.#connection.trial });
    if (step === 'camera' && state === 'sizes') this.#found(this.#telling.sizes(figures));
    if (step === 'assets' && state === 'done') this.#found(this.#telling.assets(figures));
    if (detail.strength !== undefined) this.#bars(detail.strength);
    const texts = { camera: { watching: words.watching, ...words.pictures }, microphone: { speak: words.speak, ...words.sounds }, speaker: { play: words.play_reason, playing: words.playing, ...words.speakers }, network: words.connection, screen: { share: words.share_reason, watching: words.watching, ...words.screens } }[step];
    if (!texts || state === 'sizes') return;
    if (step === 'camera') {
      this.#parts.picture.hidden = Boolean(failure);
      if (code === 'watching') this.#draw();
      // What is measured behind that is not to be held up by it.
      else this.#undraw();
    }
    if (step === 'microphone') this.#parts.meter.hidden = Boolean(failure);
    if (step === 'microphone' && state !== 'running') this.#isHeard = !failure;
    const text = failure ? fill(words.failures[failure], this.#values(step)) : texts[code];
    const quality = { good: 'good', fair: 'fair', bad: 'bad' }[state] ?? '';
    if (detail.strength === undefined) this.#set(step, quality, text ?? '');
    const n = (value, digits) => this.#telling.n(value, digits);
    const more = {
      camera: () => fill(words.frames, { width: figures.width, height: figures.height, rate: n(figures.rate, 1) }),
      microphone: () => (figures.speech === null ? '' : fill(words.loudness, { level: n(Math.abs(figures.speech)) })),
      speaker: () => fill(words.echo, { delay: n(figures.delay_ms), level: n(figures.return_db) }),
    }[step];
    if (figures && more && state !== 'running') this.#parts[step].detail.textContent = more();
    if (step === 'network') this.#connected({ ways: figures ? this.#telling.ways(figures) : this.#connection.ways });
  }

  /** What is known of the connection besides its state, whatever that becomes. */
  #connected(more) {
    Object.assign(this.#connection, more);
    this.#parts.network.detail.textContent = Object.values(this.#connection).filter(Boolean).join(' · ');
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
      const skip = button(words.skip, () => end('skipped'));
      const again = button(words.play, async () => {
        again.disabled = true;
        const came = await play();
        again.disabled = false;
        if (came !== 'played') {
          end(came);
          return;
        }
        this.#set('speaker', '', words.heard);
        const yes = button(words.yes, () => end('heard'), 'main');
        again.className = '';
        row(answers, yes, button(words.no, () => end('unheard')), again, skip);
        yes.focus();
      }, 'main');
      row(answers, again, skip);
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
      const begin = button(this.#words.share, async () => {
        begin.disabled = true;
        end(await share());
      }, 'main');
      row(sharing, begin, button(this.#words.skip, () => end('skipped')));
      begin.focus();
    });
  }

  /** Draws the picture by another renderer than the video element, if one was asked for. */
  async #draw() {
    const wanted = this.getAttribute('renderer') ?? 'auto';
    if (wanted === 'auto' || wanted === 'video') return;
    const { video, picture } = this.#parts;
    const canvas = make('canvas', { className: 'mirror', part: 'video canvas', 'aria-hidden': 'true' });
    const own = {};
    this.#drawing = own;
    const { Preview } = await import('./preview.js').catch(() => ({}));
    const show = (preview) => {
      picture.classList.toggle('drawn', preview.canvas !== null);
      if (preview.canvas && !preview.canvas.isConnected) picture.append(preview.canvas);
    };
    const drawn = await Preview?.start(video, canvas, wanted, show);
    if (!drawn || own !== this.#drawing) {
      drawn?.stop();
      return;
    }
    show(drawn);
    this.#drawn = drawn;
  }

  #undraw() {
    this.#drawing = null;
    this.#drawn?.stop();
    this.#drawn?.canvas?.remove();
    this.#drawn = null;
    this.#parts.picture.classList.remove('drawn');
  }

  /** Fetches what the application named, while nothing is measured. */
  async #warmUp() {
    const named = this.#named;
    if (named.length === 0 || this.#assets) return;
    const { WarmUp } = await import('./warm-up.js');
    if (this.#assets) return;
    this.#assets = new WarmUp(named);
    if (!this.#run && this.isConnected) this.#assets.begin();
  }

  /** Lets people hear themselves by the devices that were looked at, or by those that they have chosen since. */
  #offerHearing() {
    const used = () => {
      const { microphone, speaker } = { ...this.#last?.devices, ...this.#chosen };
      return { microphone: microphone ?? undefined, speaker: speaker ?? undefined };
    };
    this.#hearing.offer(used, (failure) => fill(this.#words.failures[failure], this.#values('microphone')));
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
    this.#parts.picture.hidden = false;
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

  /** What was found of the computer, below what is known already. */
  #found(told) {
    this.#parts.computer.lastElementChild.append(...this.#rows(told));
    this.#parts.computer.hidden = false;
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
    const { say, fix, others } = this.#telling.sentences(report.verdict, known);
    const figures = this.#telling.figures(report.targets[0]);
    const code = make('dd', { className: 'code', textContent: report.code });
    const file = new Blob([JSON.stringify(report, null, 2)], { type: 'application/json' });
    const save = early ? '' : make('a', { className: 'button', part: 'button download', href: URL.createObjectURL(file), download: `greenroom-${report.code}.json`, textContent: words.download });
    const gate = this.getAttribute('gate');
    const join = gate === null || (!found.may_join && gate !== 'soft') ? [] : [button(found.may_join ? words.join : words.anyway, () => this.#join(), found.may_join ? 'main' : '')];
    this.#say(early ? words.connection.loading : '');
    this.#bars(found.strength);
    const also = others.length === 0 ? [] : [make('p', { textContent: words.also }), make('ul', {}, ...others.map((text) => make('li', { textContent: text })))];
    this.#result(known, ...[say, fix].filter(Boolean).map((text) => make('p', { textContent: text })), ...also,
      make('dl', {}, ...this.#rows(figures), ...(early ? [] : [make('dt', { textContent: words.code }), code])), make('div', { className: 'row' }, ...join, save));
  }

  #release() {
    if (this.#preview) stop(this.#preview);
    this.#preview = null;
  }
}

if (!customElements.get('greenroom-check')) customElements.define('greenroom-check', GreenroomCheck);
