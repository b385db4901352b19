// How loud a track is, where the statistics do not tell it or not exactly. Loaded when a track is given.

/** So many samples an analyser holds at most; with 48,000 a second more than two beats of the monitor. */
const SAMPLES = 32_768;

/** The samples of a track. They stay here: what is kept of them is how loud they were, and how many stood at full scale. */
export function listen(track) {
  let context;
  try {
    context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: SAMPLES });
    new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([track]) }).connect(analyser);
    context.resume().catch(() => {});
    const buffer = new Float32Array(SAMPLES);
    let [at, parts] = [context.currentTime, []];
    return {
      /** What came since the last beat. A context that does not run yet hears nothing: that is no silence. */
      take() {
        const fresh = Math.min(SAMPLES, Math.floor((context.currentTime - at) * context.sampleRate));
        at = context.currentTime;
        if (context.state !== 'running' || fresh === 0) return;
        analyser.getFloatTimeDomainData(buffer);
        parts.push(sound(buffer.subarray(SAMPLES - fresh)));
      },
      heard() {
        const [all, samples] = [parts, parts.reduce((sum, part) => sum + part.samples, 0)];
        parts = [];
        return samples === 0 ? null : { samples, clipped: all.reduce((sum, part) => sum + part.clipped, 0), squares: all.reduce((sum, part) => sum + part.squares * part.samples, 0) / samples };
      },
      close() { context.close().catch(() => {}); },
    };
  } catch {
    context?.close().catch(() => {});
    return null;
  }
}

/** Loudness of samples, and those in runs of three or more at full scale: one alone is a peak. */
export function sound(samples) {
  let [squares, clipped, run] = [0, 0, 0];
  for (const value of samples) {
    squares += value * value;
    run = Math.abs(value) >= 0.999 ? run + 1 : 0;
    if (run >= 3) clipped += run === 3 ? 3 : 1;
  }
  return { squares: samples.length ? squares / samples.length : null, samples: samples.length, clipped };
}
