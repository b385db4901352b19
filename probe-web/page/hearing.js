// The button by which people hear themselves, and what is said meanwhile.

import { button, make } from './dom.js';

export class Hearing {
  #place;
  #meter;
  #words;
  /** It stays, so that what changes in it is read out. */
  #line = make('p', { role: 'status', className: 'quiet' });
  #buttons = make('div', { className: 'row' });
  #stopping = null;

  /** @param {{ place: HTMLElement, meter: HTMLMeterElement, words: object }} shown */
  constructor({ place, meter, words }) {
    this.#place = place;
    this.#meter = meter;
    this.#words = words;
    place.replaceChildren(this.#line, this.#buttons);
  }

  /**
   * Offers it.
   * @param {() => { microphone?: string, speaker?: string }} devices that are used then
   * @param {(failure: string) => string} failed what is said where the microphone does not open
   * @param {string} [text] how it went before
   */
  offer(devices, failed, text = '') {
    const begin = button(this.#words.hearing.start, () => this.#hear(devices, failed));
    this.#buttons.replaceChildren(begin);
    this.#line.textContent = text;
    this.#place.hidden = false;
    return begin;
  }

  /** Ends it, for what needs the microphone or the place. */
  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
    this.#place.hidden = true;
  }

  async #hear(devices, failed) {
    const words = this.#words;
    const stopping = new AbortController();
    this.#stopping = stopping;
    const stop = button(words.stop, () => stopping.abort());
    this.#buttons.replaceChildren(stop);
    this.#line.textContent = '';
    stop.focus();
    const { signal } = stopping;
    const onlevel = (level) => { this.#meter.value = level; };
    const onstate = (state) => {
      this.#line.textContent = words.hearing[state];
      this.#meter.hidden = state !== 'recording';
    };
    const played = import('./playback.js').then(({ playBack }) => playBack({ ...devices(), signal, onlevel, onstate }));
    const { outcome } = await played.catch(() => ({ outcome: 'failed' }));
    if (this.#stopping !== stopping) return;
    this.#meter.hidden = true;
    const isThere = stop.getRootNode().activeElement === stop;
    const text = outcome === 'deaf' ? words.sounds.deaf : words.hearing[outcome] ?? failed(outcome);
    const again = this.offer(devices, failed, text);
    if (isThere) again.focus();
  }
}
