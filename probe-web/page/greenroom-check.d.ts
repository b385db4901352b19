// Types of <greenroom-check> and of the check without a page of its own.

/** Will it work. */
export type Verdict = 'ready' | 'degraded' | 'blocked' | 'permission_denied' | 'inconclusive' | 'not_tested';
export type DeviceKind = 'camera' | 'microphone' | 'speaker';
/** What a call is to carry. */
export type Wanted = 'audio' | '360p' | '720p' | '1080p';

/** A report as the server made it: reports/schema/report-1.schema.json. */
export interface Report {
  id: string;
  code: string;
  complete: boolean;
  verdict: { overall: Verdict; say: string; fix: string | null; causes: Cause[]; uses: Record<string, { state: Verdict }> };
  targets: object[];
  devices: object;
  [more: string]: unknown;
}

export interface Cause {
  /** Stable: the key for translations. */
  code: string;
  params: Record<string, unknown>;
  state: Verdict;
  place: string;
  say: string;
  fix: string | null;
}

/** What an application starts its call with. */
export interface Handoff {
  verdict: Verdict;
  /** Ready, or with limits: also where only the picture would not get through. */
  may_join: boolean;
  /** The connection from 0 to 4; `null` where it was not measured. */
  strength: 0 | 1 | 2 | 3 | 4 | null;
  /** Ids for `getUserMedia` and `setSinkId`. They are those of the page's own origin. */
  devices: { camera: string | null; microphone: string | null; speaker: string | null };
  start: {
    audio: boolean;
    video: { width: number; height: number; fps: number; bitrate_bps: number } | null;
    /** Whether this computer encodes the picture and blurs or replaces its background in time; `null` where that was not measured. */
    effects: boolean | null;
  };
  /** The report's id: what a call's report is linked by. */
  id: string;
  /** What the person says on the phone. */
  code: string;
}

export type VerdictDetail = Handoff & { report: Report };

export interface Progress {
  step: 'session' | 'permission' | 'camera' | 'microphone' | 'speaker' | 'network' | 'media' | 'computer' | 'screen' | 'assets' | 'sending';
  state: 'running' | 'asking' | 'done' | 'good' | 'fair' | 'bad' | 'sizes';
  /** What was seen or heard, or how it stands: the keys of `words/en.js`. */
  code?: string;
  /** Why a device did not open. */
  failure?: 'denied' | 'dismissed' | 'system' | 'insecure' | 'policy' | 'in_use' | 'not_found' | 'overconstrained' | 'timeout' | 'ended' | 'unknown';
  /** The connection now, from 1 to 4. */
  strength?: number;
  /** Of `computer` and `camera` what was found, of `assets` each file ({@link Asset}). Of `network`, where the direct way failed and relays were tried: `{ ways: { way, host, port, outcome, setup_ms, rtt_ms }[], udp_ports }`. */
  figures?: object;
}

export interface CheckOptions {
  /** Where `greenroom serve` is: `https://greenroom.example`. Default: where these scripts came from. */
  endpoint?: string;
  /** The token of a check link. */
  link?: string;
  /** What the call is to carry; decides which sizes are tried and what is recommended. Default `720p`. */
  for?: Wanted;
  /** Default: all three. */
  devices?: DeviceKind[];
  chosen?: { camera?: string; microphone?: string; speaker?: string };
  /** Tries the screen as well. Has to begin from a click then. */
  screen?: boolean;
  /**
   * What goes to the endpoint and back in the trial call: `devices` the person's own sound and picture, where they are on. Tell them: without
   * it both stay on the computer, and a tone and drawn pictures go.
   */
  send?: 'devices';
  /** Two seconds, for somebody who had no trouble before. */
  quick?: boolean;
  /** Shows the camera meanwhile. */
  video?: HTMLVideoElement;
  /** What draws it, if that is not the element that plays it: the report has how fast it did. */
  preview?: { told(): PreviewFigures | null };
  /** Files of your application to be fetched, once nothing is measured any more; or a `WarmUp` that has begun to. */
  assets?: string[] | WarmUp;
  signal?: AbortSignal;
  onprogress?: (progress: Progress) => void;
  /** The microphone's level in dB of full scale, fifty times a second. */
  onlevel?: (level_dbfs: number) => void;
  /** Called with a first verdict as soon as there is one, where filling the connection takes longer. Its `id` and `code` are the last one's. */
  onearly?: (verdict: VerdictDetail) => void;
  /**
   * Asks the person. Without it the sound is played at once, and the speaker counts as heard when the microphone hears it.
   */
  answer?: (asked:
    | { question: 'speaker'; play: () => Promise<'heard' | 'played' | 'failed'> }
    | { question: 'screen'; share: () => Promise<string> }) => Promise<string>;
}

/** A file of the application. What the browser does not let a page know is `null`. */
export interface Asset {
  /** Without what stands behind `?`. */
  url: string;
  /**
   * `refused`: its server answered with an error; `failed`: the browser does not say why; `policy`: the page around does not let it be fetched;
   * `timeout`: not within ten seconds; `unfinished`: nobody waited.
   */
  outcome: 'loaded' | 'refused' | 'failed' | 'policy' | 'timeout' | 'unfinished';
  /** HTTP status; of what its site does not let a page read there is none, and an error of its server may look like a file that came. */
  status: number | null;
  took_ms: number | null;
  /** As it is unpacked. */
  octets: number | null;
  /** Whether the browser had it already. */
  cached: boolean | null;
  /** `h2`, `h3`, `http/1.1`. */
  protocol: string | null;
}

/** `@greenroom/check/warm-up`: fetches files of the application while nothing is measured. */
export class WarmUp {
  /** At most 32, relative to the page. */
  constructor(urls: string[]);
  begin(): void;
  /** Nothing is under way from now on; what has not come is fetched by the next `begin()` or at the end of a check. */
  hold(): void;
  told(): Asset[];
}

export type Renderer = 'video' | 'webgl' | 'webgpu' | 'canvas';

/** How a preview was drawn. */
export interface PreviewFigures {
  /** What drew it at last. */
  renderer: Renderer;
  wanted: Renderer;
  /** What did not come about, or was lost, in that order. */
  fell_back: Renderer[];
  drawn: number;
  /** Pictures that came by meanwhile; `null` where the browser does not tell. */
  presented: number | null;
  /** What a picture took the page, median. */
  draw_ms: number | null;
  fps: number;
}

/** `@greenroom/check/preview`: draws what a `<video>` plays on a canvas. */
export class Preview {
  /** `null` where the `<video>` itself is wanted. What does not come about falls back: webgpu, webgl, canvas, the `<video>`. */
  static start(video: HTMLVideoElement, canvas: HTMLCanvasElement, wanted: 'auto' | Renderer, changed?: (preview: Preview) => void): Promise<Preview | null>;
  /** The one that is in place, another one after a fallback; `null` where the `<video>` has to be shown. */
  readonly canvas: HTMLCanvasElement | null;
  told(): PreviewFigures;
  stop(): void;
}

export interface PlaybackOptions {
  /** Ids of the devices. */
  microphone?: string;
  speaker?: string;
  /** How long is recorded; default 4,000. */
  ms?: number;
  signal?: AbortSignal;
  /** The level in dB of full scale, fifty times a second. */
  onlevel?: (level_dbfs: number) => void;
  onstate?: (state: 'recording' | 'playing') => void;
}

export interface Playback {
  /** `silent`: nothing but zeros; `deaf`: the browser listens only where it can play, and cannot; `stopped` by the signal; else why the microphone did not open. */
  outcome: 'played' | 'silent' | 'deaf' | 'failed' | 'stopped' | NonNullable<Progress['failure']>;
  recorded_ms: number;
  /** What the browser says that it did to the sound; `null` before there was any. */
  processing: { echo_cancellation: boolean | null; noise_suppression: boolean | null; auto_gain_control: boolean | null } | null;
}

/** `@greenroom/check/playback`: records the person, with the processing of a call, and plays it to them. Always settles. */
export function playBack(options?: PlaybackOptions): Promise<Playback>;

/** Why there is no result. */
export class CheckError extends Error {
  reason: 'offline' | 'busy' | 'refused' | 'foreign' | 'link' | 'stopped';
}

/** Runs a check. Always settles: with what came of it, or with a `CheckError`. */
export function check(options?: CheckOptions): Promise<VerdictDetail>;

/**
 * `<greenroom-check endpoint="https://greenroom.example" for="720p" devices="microphone speaker" screen send="devices" renderer="webgl" assets="/app.js /app.wasm" gate lang="de"
 * theme="auto" link="gc_…" hand-off="https://app.example">`
 */
export class GreenroomCheck extends HTMLElement {
  /** Runs the check; the report, or `null` when there is none. */
  run(): Promise<Report | null>;
  stop(): void;
  /** The last one. */
  report(): Report | null;
  onverdict: ((detail: VerdictDetail) => void) | null;
  addEventListener(type: 'progress', listener: (event: CustomEvent<Progress>) => void): void;
  addEventListener(type: 'early' | 'verdict' | 'join', listener: (event: CustomEvent<VerdictDetail>) => void): void;
  addEventListener(type: 'devices', listener: (event: CustomEvent<Record<DeviceKind, { deviceId: string; label: string }[]>>) => void): void;
  addEventListener(type: 'error', listener: (event: CustomEvent<{ reason: CheckError['reason'] }>) => void): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'greenroom-check': GreenroomCheck;
  }
}
