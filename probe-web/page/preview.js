// A preview that is drawn by a renderer that was chosen.

import { RENDERERS } from './drawing.js';

/** Times of drawing calls that a preview keeps, and the longest gap between two pictures, in ms, that counts as such. */
const MOST_TIMES = 600;
const MOST_GAP_MS = 1_000;
/** What a renderer falls back to stands behind it. */
const ORDER = ['webgpu', 'webgl', 'canvas'];

/**
 * A playing video, drawn on a canvas. What cannot be had, or goes away, is replaced by what is simpler: `webgpu`, `webgl`, `canvas`, and at
 * last by the `<video>` itself. As a canvas has one kind of context for all its life, a new one takes its place then, with the same
 * attributes: ask `canvas` which one it is.
 */
export class Preview {
  #video;
  #canvas;
  #wanted;
  #changed;
  #left;
  #renderer = null;
  #drawer = null;
  #fell = [];
  #stopped = false;
  #drawn = 0;
  #times = [];
  #last_ms = 0;
  #ran_ms = 0;
  #presented = null;
  #before = null;

  /**
   * Begins. `null` where the `<video>` itself is wanted, which `auto` is, too: nothing is less work. Where it is what was fallen back to, what
   * is given has the renderer `video`, and no canvas.
   * @param {HTMLVideoElement} video
   * @param {HTMLCanvasElement} canvas one without a context
   * @param {'auto'|'video'|'webgl'|'webgpu'|'canvas'} wanted
   * @param {(preview: Preview) => void} [changed] called behind each change of the renderer, after the first one
   * @returns {Promise<Preview|null>}
   */
  static async start(video, canvas, wanted, changed = () => {}) {
    if (!ORDER.includes(wanted)) return null;
    const preview = new Preview(video, canvas, wanted, changed);
    await preview.#settle();
    return preview;
  }

  constructor(video, canvas, wanted, changed) {
    this.#video = video;
    this.#canvas = canvas;
    this.#wanted = wanted;
    this.#changed = changed;
    this.#left = ORDER.slice(ORDER.indexOf(wanted));
  }

  /** The one that is in place; `null` where the `<video>` has to be shown. */
  get canvas() {
    return this.#renderer === 'video' ? null : this.#canvas;
  }

  /**
   * How it went: pictures drawn and, where the browser tells it, that came by; the median of what drawing took the page, in ms (what it took
   * the graphics processor is not in it); pictures drawn per second.
   */
  told() {
    const times = [...this.#times].sort((a, b) => a - b);
    return {
      renderer: this.#renderer,
      wanted: this.#wanted,
      fell_back: [...this.#fell],
      drawn: this.#drawn,
      presented: this.#presented,
      draw_ms: times.length > 0 ? Math.round(times[times.length >> 1] * 1e3) / 1e3 : null,
      fps: this.#ran_ms > 0 ? Math.round(((this.#drawn - 1) * 1e4) / this.#ran_ms) / 10 : 0,
    };
  }

  /** Ends it and gives the context back. The canvas in place is a new one that may be used again. */
  stop() {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#drawer?.close();
    this.#drawer = null;
    this.#replace();
  }

  /** Takes the first of the renderers left that comes about. */
  async #settle() {
    while (this.#left.length > 0 && !this.#stopped) {
      const name = this.#left[0];
      const drawer = await RENDERERS[name](this.#canvas).catch(() => null);
      if (drawer) {
        this.#use(name, drawer);
        return;
      }
      this.#giveUp();
    }
    this.#renderer = 'video';
  }

  #use(name, drawer) {
    if (this.#stopped) {
      drawer.close();
      return;
    }
    this.#renderer = name;
    this.#drawer = drawer;
    const lost = () => {
      if (this.#drawer === drawer) this.#fall();
    };
    // A 2D context that is lost comes back by itself.
    this.#canvas.addEventListener('webglcontextlost', lost);
    drawer.lost?.then(lost);
    this.#follow(drawer);
  }

  /** Goes over to what is simpler. */
  async #fall() {
    this.#drawer.close();
    this.#drawer = null;
    this.#giveUp();
    await this.#settle();
    if (!this.#stopped) this.#changed(this);
  }

  #giveUp() {
    this.#fell.push(this.#left.shift());
    this.#replace();
  }

  #replace() {
    const canvas = this.#canvas.cloneNode();
    this.#canvas.replaceWith(canvas);
    this.#canvas = canvas;
  }

  /** Draws each picture, as long as this is what draws. */
  #follow(drawer) {
    const video = this.#video;
    const told = 'requestVideoFrameCallback' in video;
    let last = -1;
    const next = (_, metadata) => {
      if (this.#drawer !== drawer) return;
      if (told || video.currentTime !== last) {
        last = video.currentTime;
        this.#count(metadata?.presentedFrames);
        this.#draw(drawer);
      }
      ask();
    };
    const ask = () => (told ? video.requestVideoFrameCallback(next) : requestAnimationFrame(next));
    ask();
  }

  /** By the element's own count, which begins anew with another stream. */
  #count(presented) {
    if (!Number.isFinite(presented)) return;
    this.#presented += this.#before === null ? 1 : Math.max(presented - this.#before, 0);
    this.#before = presented;
  }

  #draw(drawer) {
    const { readyState, videoWidth: width, videoHeight: height } = this.#video;
    if (readyState < 2) return;
    const canvas = this.#canvas;
    const began = performance.now();
    try {
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      drawer.draw(this.#video);
    } catch {
      this.#fall();
      return;
    }
    const now = performance.now();
    this.#times.push(now - began);
    if (this.#times.length > MOST_TIMES) this.#times.shift();
    if (this.#drawn > 0) this.#ran_ms += Math.min(now - this.#last_ms, MOST_GAP_MS);
    this.#last_ms = now;
    this.#drawn += 1;
  }
}
