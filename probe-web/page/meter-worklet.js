// Measures the microphone's sound in the audio thread, in blocks of 20 ms.

/** Nearly full scale: what is cut off stays at one value up there. */
const TOP = 0.98;
/** So many equal samples at the top are a cut-off peak. */
const RUN = 3;

class Meter extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 50);
    this.top = 0;
    this.last = 0;
    this.reset();
  }

  reset() {
    this.block = { samples: 0, squares: 0, sum: 0, least: Infinity, greatest: -Infinity, clipped: 0, runs: 0 };
  }

  process([input]) {
    const channel = loudest(input);
    if (!channel) return true;
    for (const x of channel) this.take(Number.isFinite(x) ? x : 0);
    return true;
  }

  take(x) {
    const block = this.block;
    block.samples += 1;
    block.squares += x * x;
    block.sum += x;
    block.least = Math.min(block.least, x);
    block.greatest = Math.max(block.greatest, x);
    this.top = Math.abs(x) >= TOP && (this.top === 0 || Math.abs(x - this.last) < 0.01) ? this.top + 1 : 0;
    this.last = x;
    if (this.top === RUN) {
      block.runs += 1;
      block.clipped += RUN;
    } else if (this.top > RUN) {
      block.clipped += 1;
    }
    if (block.samples >= this.size) {
      this.port.postMessage(block);
      this.reset();
    }
  }
}

/** Hands on the sound itself, to be looked through for a sweep on the page. */
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

registerProcessor('greenroom-meter', Meter);
registerProcessor('greenroom-recorder', Recorder);
