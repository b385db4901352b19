// Looks at the microphone's sound in the audio thread, sample by sample, as greenroom-reports' `signals::sound` does, where the reasons
// stand. What leaves this thread are sums and rows, by which the server names the sound; the vectors of both are the same
// (reports/signals-vectors). Only `greenroom-recorder` hands on the sound itself, to this page.

const FRAMES_A_SECOND = 50;
/** Beyond +60 dBFS it is no sample. */
const MOST = 1_000;
const SILENCE_DBFS = -150;

const dbfs = (square) => (square > 0 ? Math.max(SILENCE_DBFS, 10 * Math.log10(square)) : SILENCE_DBFS);

/** What was cut off and then brought to another rate is flat no longer, and stays up there all the same: nearly full scale, nearly level. */
const TOP = 0.98;
const LEVEL = 0.01;

/** Flattened peaks, kept by level: which runs count is known at the end, with the largest sample (`peaks.rs`). */
class Peaks {
  #limits;
  #top = 0;
  #nearly = { runs: 0, samples: 0 };
  #run = 0;
  #last = 0;
  #peak = 0;
  #runs = new Map();

  constructor(limits) {
    this.#limits = limits;
  }

  push(x) {
    this.#peak = Math.max(this.#peak, Math.abs(x));
    this.#look(x);
    if (x === this.#last) {
      this.#run += 1;
      return;
    }
    this.#close();
    [this.#last, this.#run] = [x, 1];
  }

  told() {
    this.#close();
    this.#run = 0;
    const found = { runs: 0, samples: 0 };
    if (this.#peak < this.#limits.least_peak_ratio) return found;
    const from = Math.max(0, this.#bin(this.#peak * this.#limits.top_ratio));
    for (const [bin, { runs, samples }] of this.#runs) {
      if (bin < from) continue;
      found.runs += runs;
      found.samples += samples;
    }
    return this.#nearly.samples > found.samples ? this.#nearly : found;
  }

  /** Samples at the top that are nearly alike. */
  #look(x) {
    const { run_samples } = this.#limits;
    this.#top = Math.abs(x) >= TOP && (this.#top === 0 || Math.abs(x - this.#last) < LEVEL) ? this.#top + 1 : 0;
    if (this.#top < run_samples) return;
    if (this.#top === run_samples) this.#nearly.runs += 1;
    this.#nearly.samples += this.#top === run_samples ? run_samples : 1;
  }

  #close() {
    if (this.#run < this.#limits.run_samples) return;
    const bin = this.#bin(Math.abs(this.#last));
    if (bin < 0) return;
    const { runs, samples } = this.#runs.get(bin) ?? { runs: 0, samples: 0 };
    this.#runs.set(bin, { runs: runs + 1, samples: samples + this.#run });
  }

  /** 0.1 dB each; below the least level that counts it is negative. */
  #bin(level) {
    const steps = Math.log10(level / this.#limits.least_peak_ratio) * 200;
    return steps > -0.5 ? Math.min(599, Math.round(steps)) : -1;
  }
}

/** Runs of zeros that begin abruptly within sound (`dropouts.rs`). */
class Gaps {
  #shortest;
  #cut;
  #fast = 0;
  #slow = 0;
  #shares;
  #run = 0;
  #abrupt = false;
  #heard = false;
  gaps = 0;
  gap_samples = 0;

  constructor(rate, limits) {
    this.#shortest = Math.max(Math.floor((rate * limits.gap_least_ms) / 1e3), limits.gap_least_samples);
    this.#cut = limits.gap_cut_ratio;
    this.#shares = [0.002, 0.01].map((seconds) => 1 - Math.exp(-1 / (rate * seconds)));
  }

  push(x) {
    if (x === 0) {
      if (this.#run === 0) this.#abrupt = this.#heard && this.#fast >= this.#slow * this.#cut;
      this.#run += 1;
    } else {
      if (this.#run >= this.#shortest && this.#abrupt) {
        this.gaps += 1;
        this.gap_samples += this.#run;
      }
      this.#run = 0;
      this.#heard = true;
    }
    if (this.#run >= this.#shortest) return;
    this.#fast += (x * x - this.#fast) * this.#shares[0];
    this.#slow += (x * x - this.#slow) * this.#shares[1];
  }
}

const ANCHOR = 4;
const PICK = 16;
const SLOTS = 1_024;

/** Blocks that come again, to the last bit (`dropouts.rs`). */
class Repeats {
  #least;
  #most;
  #whole;
  #ring;
  #bits;
  #mask;
  #at = 0;
  #known = new Uint32Array(SLOTS);
  #where = new Uint32Array(SLOTS);
  #lag = 0;
  #length = 0;
  repeats = 0;
  repeated_samples = 0;

  constructor(rate, limits) {
    const frames = (ms) => Math.round((rate * ms) / 1e3);
    [this.#least, this.#most, this.#whole] = [frames(limits.repeat_shortest_ms), frames(limits.repeat_longest_ms), limits.repeat_whole_ratio];
    this.#ring = new Float32Array(2 ** Math.ceil(Math.log2(2 * this.#most + ANCHOR)));
    this.#bits = new Uint32Array(this.#ring.buffer);
    this.#mask = this.#ring.length - 1;
  }

  push(x) {
    this.#ring[this.#at & this.#mask] = x;
    this.#at += 1;
    if (this.#lag === 0) this.#begin();
    else if (this.#back(0) === this.#back(this.#lag)) this.#length += 1;
    else this.end();
  }

  /** What goes on ends here. Shorter than the block itself, it is a likeness and no repetition. */
  end() {
    if (this.#lag > 0 && this.#length >= this.#whole * this.#lag) {
      this.repeats += 1;
      this.repeated_samples += this.#length;
    }
    this.#lag = 0;
  }

  #back(by) {
    return this.#bits[(this.#at - 1 - by) & this.#mask];
  }

  #begin() {
    if (this.#at < ANCHOR) return;
    const first = this.#back(0);
    let same = true;
    let hash = 0x811c9dc5;
    for (let by = 0; by < ANCHOR; by += 1) {
      const bits = this.#back(by);
      same &&= bits === first;
      hash = Math.imul(hash ^ bits, 0x9e3779b1);
      hash = (hash << 13) | (hash >>> 19);
    }
    hash >>>= 0;
    if (same || hash % PICK !== 0) return;
    const slot = Math.floor(hash / PICK) % SLOTS;
    const [known, at] = [this.#known[slot], this.#where[slot]];
    [this.#known[slot], this.#where[slot]] = [hash, this.#at];
    const lag = this.#at - at;
    if (known !== hash || at === 0 || lag < this.#least || lag > this.#most) return;
    const reach = Math.min(lag, this.#at - lag);
    let length = 0;
    while (length < reach && this.#back(length) === this.#back(length + lag)) length += 1;
    if (length >= ANCHOR) [this.#lag, this.#length] = [lag, length];
  }
}

const THRESHOLDS = Array.from({ length: 20 }, (_, k) => 2 ** (k - 20));
const HANGOVER_S = 0.2;

/** The speech voltmeter of ITU-T P.56 (`speech.rs`). */
class ActiveLevel {
  #hangover;
  #smooth;
  #highPass;
  #mean = null;
  #first = 0;
  #second = 0;
  #since;
  squares = 0;
  above = THRESHOLDS.map(() => 0);

  constructor(rate) {
    this.#hangover = Math.round(rate * HANGOVER_S);
    this.#smooth = Math.exp(-1 / (rate * 0.03));
    this.#highPass = 1 - Math.exp((-2 * Math.PI * 20) / rate);
    this.#since = THRESHOLDS.map(() => this.#hangover);
  }

  push(raw) {
    this.#mean ??= raw;
    this.#mean += (raw - this.#mean) * this.#highPass;
    const x = raw - this.#mean;
    this.squares += x * x;
    this.#first = this.#smooth * this.#first + (1 - this.#smooth) * Math.abs(x);
    this.#second = this.#smooth * this.#second + (1 - this.#smooth) * this.#first;
    const since = this.#since;
    for (let k = 0; k < THRESHOLDS.length; k += 1) {
      since[k] = this.#second >= THRESHOLDS[k] ? 0 : Math.min(since[k] + 1, this.#hangover + 1);
      if (since[k] <= this.#hangover) this.above[k] += 1;
    }
  }
}

const LOW_RATE = 2_000;
const WINDOW = 128;
const [SHORTEST, LONGEST] = [5, 33];

/** Windows in which a voice is looked for, of the sound brought down to about 2 kHz (`speech.rs`). */
class Voice {
  #by;
  #phase = 0;
  #rising = 0;
  #falling = 0;
  #window = [];
  windows = [];

  constructor(rate) {
    this.#by = Math.max(1, Math.floor(rate / LOW_RATE));
  }

  push(x) {
    this.#phase += 1;
    const up = this.#phase / this.#by;
    this.#rising += x * up;
    this.#falling += x * (1 - up);
    if (this.#phase < this.#by) return;
    this.#window.push(Math.fround(this.#falling / this.#by));
    [this.#phase, this.#falling, this.#rising] = [0, this.#rising, 0];
    if (this.#window.length < WINDOW) return;
    this.windows.push(lookAt(this.#window));
    this.#window.splice(0, WINDOW / 2);
  }
}

/** Level, how alike it is to itself a pitch period later, and the share of its energy in its loudest eighth. */
function lookAt(window) {
  const mean = window.reduce((sum, x) => sum + x, 0) / WINDOW;
  const x = window.map((value) => value - mean);
  const reach = WINDOW - LONGEST - 1;
  const energy = (from, count) => {
    let sum = 0;
    for (let n = from; n < from + count; n += 1) sum += x[n] * x[n];
    return sum;
  };
  const own = energy(0, reach);
  const alike = (lag) => {
    const both = Math.sqrt(own * energy(lag, reach));
    let product = 0;
    for (let n = 0; n < reach; n += 1) product += x[n] * x[n + lag];
    return both > 0 ? product / both : 0;
  };
  const likeness = Array.from({ length: LONGEST - SHORTEST + 3 }, (_, k) => alike(SHORTEST - 1 + k));
  // Only a likeness that rises again is a period.
  const best = likeness.reduce((most, l, k) => (k > 0 && l > likeness[k - 1] && l >= (likeness[k + 1] ?? Infinity) ? Math.max(most, l) : most), 0);
  const whole = energy(0, WINDOW);
  const eighths = Array.from({ length: 8 }, (_, k) => energy((k * WINDOW) / 8, WINDOW / 8));
  return [dbfs(whole / WINDOW), best, whole > 0 ? Math.max(...eighths) / whole : 1].map((x) => short(x));
}

/** As many digits as matter. */
const short = (x, digits = 5) => Number(x.toPrecision(digits));

/** One channel (`recording.rs`). */
class Channel {
  samples = 0;
  damaged = 0;
  sum = 0;
  squares = 0;
  least = Infinity;
  greatest = -Infinity;
  product = 0;
  frames = [];
  #length;
  #n = 0;
  #mean = 0;
  #off = 0;
  #peaks;
  #gaps;
  #repeats;
  #active;
  #voice;

  constructor(limits) {
    this.#length = Math.floor(sampleRate / FRAMES_A_SECOND);
    this.#peaks = new Peaks(limits.clipping);
    this.#gaps = new Gaps(sampleRate, limits.dropouts);
    this.#repeats = new Repeats(sampleRate, limits.dropouts);
    this.#active = new ActiveLevel(sampleRate);
    this.#voice = new Voice(sampleRate);
  }

  /** What it counts as. */
  push(raw) {
    const isOne = Math.abs(raw) <= MOST;
    const x = isOne ? raw : 0;
    this.samples += 1;
    if (!isOne) this.damaged += 1;
    this.sum += x;
    this.squares += x * x;
    if (x < this.least) this.least = x;
    if (x > this.greatest) this.greatest = x;
    this.#frame(x);
    this.#peaks.push(x);
    this.#gaps.push(x);
    this.#repeats.push(x);
    this.#active.push(x);
    this.#voice.push(x);
    return x;
  }

  /** Mean and variance of each frame, by Welford's method. */
  #frame(x) {
    this.#n += 1;
    const off = x - this.#mean;
    this.#mean += off / this.#n;
    this.#off += off * (x - this.#mean);
    if (this.#n < this.#length) return;
    // What is constant is to stay so: a mean is taken from another one.
    this.frames.push([short(this.#mean, 9), short(this.#off / this.#n)]);
    [this.#n, this.#mean, this.#off] = [0, 0, 0];
  }

  /** How loud the last frame was, for the meter. */
  get level() {
    const [mean, variance] = this.frames.at(-1) ?? [0, 0];
    return variance + mean * mean;
  }

  told() {
    const { samples, damaged, sum, squares, product, frames } = this;
    const [least, greatest] = samples > 0 ? [this.least, this.greatest] : [0, 0];
    this.#repeats.end();
    const { gaps, gap_samples } = this.#gaps;
    const { repeats, repeated_samples } = this.#repeats;
    return {
      samples, damaged, sum, squares, least, greatest, product, frames,
      clipped: this.#peaks.told(), broken: { gaps, gap_samples, repeats, repeated_samples },
      active: { squares: this.#active.squares, above: this.#active.above }, windows: this.#voice.windows,
    };
  }
}

/** Tells the level of each frame, and on a message what all of it came to, a channel each. It ends with that. */
class Listener extends AudioWorkletProcessor {
  #limits;
  #channels = [];
  /** Zeros before the first sound: a headset changes to its call mode. */
  #zeros = 0;
  #told = 0;
  #over = false;

  constructor({ processorOptions }) {
    super();
    this.#limits = processorOptions;
    this.port.onmessage = () => this.#tell();
  }

  process([input]) {
    if (this.#over) return false;
    if (input.length === 0) return true;
    if (this.#channels.length === 0 && input.every((block) => block.every((x) => x === 0))) {
      this.#zeros += input[0].length;
      return true;
    }
    while (this.#channels.length < input.length) this.#channels.push(new Channel(this.#limits));
    this.#take(input);
    const { length } = this.#channels[0].frames;
    if (length > this.#told) this.port.postMessage({ square: Math.max(...this.#channels.map(({ level }) => level)) });
    this.#told = length;
    return true;
  }

  #take(input) {
    for (let n = 0; n < input[0].length; n += 1) {
      let before = 0;
      for (let c = 0; c < input.length; c += 1) {
        const channel = this.#channels[c];
        const x = channel.push(input[c][n]);
        channel.product += x * before;
        before = x;
      }
    }
  }

  #tell() {
    this.#over = true;
    // A channel that came in the middle, or went, is not held against the others.
    const longest = Math.max(0, ...this.#channels.map(({ samples }) => samples));
    const told = this.#channels.filter(({ samples }) => samples === longest).map((channel) => channel.told());
    if (told.length === 0 && this.#zeros > 0) told.push({ ...new Channel(this.#limits).told(), samples: this.#zeros });
    this.port.postMessage({ told });
  }
}

/** Hands on the sound itself, to be looked through for a sweep, or played, on the page. */
class Recorder extends AudioWorkletProcessor {
  process([input]) {
    const channel = loudest(input);
    if (channel) this.port.postMessage({ at: currentFrame, samples: channel.slice() });
    return true;
  }
}

/** Of several channels, the one with the most sound in it. */
function loudest(channels) {
  let best = channels[0];
  let most = -1;
  for (const channel of channels.length > 1 ? channels : []) {
    const squares = channel.reduce((sum, x) => sum + x * x, 0);
    if (squares > most) [best, most] = [channel, squares];
  }
  return best;
}

registerProcessor('greenroom-listener', Listener);
registerProcessor('greenroom-recorder', Recorder);
