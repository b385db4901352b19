// An exponential sine sweep, and where in a recording it is: the method of greenroom-reports' `signals::sound::sweep`, where its reasons
// stand (Farina, AES 108, 2000). It is done here, not by the server, because the recording is somebody's room: it stays in the browser,
// and three figures leave it. How sure is sure, the server says.

const LOW_HZ = 80;
const HIGH_HZ = 16_000;
const AMPLITUDE = 0.5;
const SECONDS = 1;
/** What comes back is measured over so long after the peak. */
const GATE_S = 0.1;
const HARMONICS = 5;

const highest = (rate) => Math.min(HIGH_HZ, 0.45 * rate);
/** Seconds in which the frequency rises to its e-fold. */
const pace = (rate) => SECONDS / Math.log(highest(rate) / LOW_HZ);
const ramp = (x) => 0.5 - 0.5 * Math.cos(Math.PI * Math.min(1, Math.max(0, x)));

/** The samples to play. */
export function sweep(rate) {
  const rise = pace(rate);
  return Float32Array.from({ length: Math.round(SECONDS * rate) }, (_, n) => {
    const t = n / rate;
    return AMPLITUDE * Math.sin(2 * Math.PI * LOW_HZ * rise * (Math.exp(t / rise) - 1)) * ramp(t / 0.02) * ramp((SECONDS - t) / 0.005);
  });
}

/**
 * Looks for the sweep in a recording that begins when it was played.
 * @param {Float32Array} recorded
 * @param {number} rate
 */
export async function find(recorded, rate) {
  const played = sweep(rate);
  if (recorded.length < played.length || recorded.every((x) => x === 0)) return null;
  const response = await impulseResponse(recorded, played, rate);
  const size = response.length;
  const at = (position, back = 0) => response[(position + size - back) % size];
  let peak = 0;
  for (let n = 0; n < recorded.length - played.length / 2; n += 1) if (Math.abs(response[n]) > Math.abs(response[peak])) peak = n;
  const quiet = noise(at, peak, recorded.length, played.length, rate);
  const height = Math.abs(response[peak]);
  if (height === 0) return null;
  const confidence = height / Math.max(Math.sqrt(quiet.mean_square), height * 1e-8);
  const [a, b, c] = [at(peak, 1), at(peak), at(peak + 1)].map(Math.abs);
  const between = a - 2 * b + c < 0 ? Math.min(0.5, Math.max(-0.5, (0.5 * (a - c)) / (a - 2 * b + c))) : 0;
  const heard = bands(at, peak, Math.round(0.02 * rate), rate);
  const room = bands(at, quiet.from, quiet.back, rate);
  const powers = heard.map((power, k) => Math.max(power - room[k], power * 1e-3, 1e-20));
  const mean = powers.reduce((sum, power) => sum + power, 0) / powers.length;
  return { confidence_db: 20 * Math.log10(confidence), delay_ms: ((peak + between) / rate) * 1000, return_db: 10 * Math.log10(mean) };
}

/** The spectrum heard over the spectrum played, where that has any energy. */
async function impulseResponse(recorded, played, rate) {
  let size = 1;
  while (size < recorded.length + played.length) size *= 2;
  const heard = complex(recorded, size);
  transform(heard);
  // Between the steps the page may draw.
  await null;
  const sent = complex(played, size);
  transform(sent);
  const high = highest(rate);
  for (let bin = 0; bin < size; bin += 1) {
    const hz = (Math.min(bin, size - bin) * rate) / size;
    const weight = ramp((hz - LOW_HZ * 0.8) / (LOW_HZ * 0.4)) * ramp((high - hz) / (high * 0.05));
    const power = sent.re[bin] ** 2 + sent.im[bin] ** 2;
    const scale = weight > 0 && power > 0 ? weight / power : 0;
    const re = (heard.re[bin] * sent.re[bin] + heard.im[bin] * sent.im[bin]) * scale;
    const im = (heard.im[bin] * sent.re[bin] - heard.re[bin] * sent.im[bin]) * scale;
    // The inverse is the transform with both parts exchanged.
    [heard.re[bin], heard.im[bin]] = [im, re];
  }
  transform(heard);
  return heard.im.map((x) => x / size);
}

/** Mean square of what is neither the response nor its harmonics, and where a stretch of it begins. */
function noise(at, peak, recorded, length, rate) {
  const half = Math.floor(length / 2);
  const before = Math.round((pace(rate) * Math.log(HARMONICS + 1) + 0.02) * rate);
  const after = Math.min(Math.round(0.5 * rate), Math.floor(recorded / 4));
  const [from, to] = [Math.max(0, peak + half - before), peak + half + after];
  let squares = 0;
  let count = 0;
  for (let n = 0; n < recorded; n += 1) {
    if (n >= from && n < to) continue;
    squares += at(n, half) ** 2;
    count += 1;
  }
  const gate = Math.round(GATE_S * rate);
  return { mean_square: squares / Math.max(1, count), from: to + gate <= recorded ? to : Math.max(0, from - 2 * gate), back: half };
}

/** Mean power gain of each third octave from 160 Hz to 6.3 kHz, over the gate. */
function bands(at, from, back, rate) {
  const gate = Math.round(GATE_S * rate);
  let size = 1;
  while (size < gate) size *= 2;
  const fade = (n) => 0.5 + 0.5 * Math.cos(Math.PI * Math.min(1, Math.max(0, (n / gate - 0.8) / 0.2)));
  const gated = complex(Float64Array.from({ length: gate }, (_, n) => at(from + n, back) * fade(n)), size);
  transform(gated);
  const bin = (hz) => Math.round((hz / rate) * size);
  const centers = Array.from({ length: 17 }, (_, k) => 1_000 * 10 ** ((k - 8) / 10));
  return centers.filter((hz) => hz * 10 ** 0.05 <= highest(rate) * 0.95).map((hz) => {
    const [low, high] = [bin(hz * 10 ** -0.05), bin(hz * 10 ** 0.05)];
    let power = 0;
    for (let n = low; n <= high; n += 1) power += gated.re[n] ** 2 + gated.im[n] ** 2;
    return power / (high - low + 1);
  });
}

function complex(samples, size) {
  const re = new Float64Array(size);
  re.set(samples);
  return { re, im: new Float64Array(size) };
}

/** Fast Fourier transform in place (Cooley and Tukey); the size is a power of two. */
function transform({ re, im }) {
  const size = re.length;
  for (let i = 1, j = 0; i < size; i += 1) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  const turns = Float64Array.from({ length: size }, (_, k) => (k < size / 2 ? Math.cos((2 * Math.PI * k) / size) : -Math.sin((2 * Math.PI * (k - size / 2)) / size)));
  for (let length = 2; length <= size; length *= 2) {
    const step = size / length;
    for (let begin = 0; begin < size; begin += length) {
      for (let k = 0; k < length / 2; k += 1) {
        const [cos, sin] = [turns[k * step], turns[size / 2 + k * step]];
        const [a, b] = [begin + k, begin + k + length / 2];
        const x = re[b] * cos - im[b] * sin;
        const y = re[b] * sin + im[b] * cos;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}
