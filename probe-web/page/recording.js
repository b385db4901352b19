// The sound of a microphone, as samples: to be looked through, or to be played. It does not leave this page.

import { within } from './time.js';

/**
 * Records from now on.
 * @param {AudioContext} context that runs
 * @param {MediaStream} stream
 * @param {(block: { at: number, samples: Float32Array }) => void} [hear] is given each block, with its first frame on the context's clock
 * @returns {Promise<(from: number, count: number) => Float32Array>} so many samples from a frame of the context's clock on
 */
export async function record(context, stream, hear = () => {}) {
  await within(context.audioWorklet.addModule(new URL('./meter-worklet.js', import.meta.url)), 4_000);
  const node = new AudioWorkletNode(context, 'greenroom-recorder', { numberOfOutputs: 0, channelCountMode: 'max' });
  context.createMediaStreamSource(stream).connect(node);
  const blocks = [];
  node.port.onmessage = ({ data }) => {
    blocks.push(data);
    hear(data);
  };
  return (from, count) => {
    const samples = new Float32Array(count);
    for (const block of blocks) {
      const skip = Math.max(0, from - block.at);
      const at = block.at + skip - from;
      if (skip < block.samples.length && at < count) samples.set(block.samples.subarray(skip, skip + count - at), at);
    }
    return samples;
  };
}

/**
 * Plays samples from a point of the context's time on.
 * @returns {Promise<void>} settles when they were played
 */
export function playSamples(context, samples, begin = 0) {
  const buffer = context.createBuffer(1, samples.length, context.sampleRate);
  buffer.copyToChannel(samples, 0);
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  source.start(begin);
  return new Promise((resolve) => { source.onended = () => resolve(); });
}

/** A context that plays by the chosen speaker, where the browser lets a page choose. */
export async function playing(speaker) {
  const context = new AudioContext();
  try {
    if (speaker && 'setSinkId' in context) await within(context.setSinkId(speaker), 3_000);
    await within(context.resume(), 3_000);
    return context;
  } catch (error) {
    context.close().catch(() => {});
    throw error;
  }
}
