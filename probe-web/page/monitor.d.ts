// Types of what watches a running call, and of the words for its reasons.

/**
 * What goes wrong. Stable: the keys of `words/call-en.js`. Those that a report of a check has, too, mean the same there.
 * `relayed`, `path_changed` and `mic_muted_in_software` are no trouble by themselves; `page_hidden` and `page_stalled` mean that nothing else was judged meanwhile.
 */
export type ReasonCode =
  | 'loss_up' | 'loss_down' | 'late_loss_down' | 'buffer_delay_down' | 'rtt_high' | 'connection_lost' | 'bandwidth_limited' | 'bitrate_capped'
  | 'cpu_limited' | 'video_frozen' | 'frame_rate_low_down' | 'frame_rate_low_up' | 'audio_not_received' | 'relayed' | 'path_changed'
  | 'mic_muted_in_software' | 'mic_muted_in_hardware' | 'mic_clipping' | 'page_hidden' | 'page_stalled';

/** A reason that began or ended. Times are since the watch began. */
export interface Reason {
  code: ReasonCode;
  place: 'path' | 'relay' | 'computer' | 'device' | 'join' | 'unknown';
  direction: 'up' | 'down' | 'both' | null;
  at_ms: number;
  /** What `value` and `worst` are; `null` where it is or is not. */
  unit: 'ratio' | 'ms' | 'fps' | null;
  /** Of one that begins: its figure then. */
  value?: number | null;
  /** Of one that ended: how long it was there, and its worst figure. */
  lasted_ms?: number;
  worst?: number | null;
  from?: Path;
  to?: Path;
}

export interface Path {
  id: string;
  local: 'host' | 'srflx' | 'prflx' | 'relay' | null;
  remote: 'host' | 'srflx' | 'prflx' | 'relay' | null;
  protocol: 'udp' | 'tcp' | null;
  /** To the relay. */
  relay_protocol: 'udp' | 'tcp' | 'tls' | null;
}

interface Stream {
  packets: number | null;
  /** May be below zero: packets that were given up before and came after all. */
  lost: number | null;
  loss_ratio: number | null;
  bps: number | null;
}

/** What one interval's differences of counters say. What the browser does not tell is `null`, never 0. */
export interface Figures {
  at_ms: number;
  interval_ms: number;
  /** Why this interval is not judged. */
  disturbed: 'hidden' | 'stalled' | null;
  stalled_ms: number;
  connection: RTCPeerConnectionState | null;
  path: (Path & { rtt_ms: number | null; available_up_bps: number | null }) | null;
  down: {
    audio: (Stream & { jitter_rfc3550_ms: number | null; buffer_ms: number | null; concealed_ratio: number | null; late: number | null; level_dbfs: number | null }) | null;
    video: (Stream & { fps: number | null; height: number | null; frozen_ms: number | null; dropped: number | null }) | null;
  };
  up: {
    /** `loss_ratio`, `jitter_rfc3550_ms` and `rtt_ms` come with the other side's reports, every few seconds, and are `null` in between. */
    audio: (Stream & { reported: number | null; jitter_rfc3550_ms: number | null; rtt_ms: number | null }) | null;
    video: (Stream & {
      reported: number | null; rtt_ms: number | null; fps?: number | null; source_fps?: number | null; height?: number | null; target_bps?: number | null;
      cpu_ratio?: number | null; bandwidth_ratio?: number | null; encode_ms?: number | null;
    }) | null;
  };
  microphone: { level_dbfs: number | null; muted: 'application' | 'system' | null; silent_ms: number; samples: number | null; clipped: number | null } | null;
}

export interface MonitorOptions {
  /** How often the statistics are looked at; 2,000. */
  every_ms?: number;
  /** A track whose samples are looked at here, for levels that the browser does not tell (Firefox) and for exact clipping. They go nowhere. */
  microphone?: MediaStreamTrack;
  /** The report of the check before the call, its id, or its code. Default: the last one in this tab; `null`: none. */
  parent?: { id?: string; code?: string } | string | null;
  onreason?: (reason: Reason & { type: 'begin' | 'end' }) => void;
  /** Where `greenroom serve` is. Default: where these scripts came from. */
  endpoint?: string;
  /** The token of a check link (`gc_…`): the report lands on its ticket. */
  link?: string;
  /** Of the report: site, person, ticket. Only with `link`. */
  labels?: Record<string, string>;
}

export interface Ended {
  /** `greenroom.report/1` of kind `monitor`: reports/schema/report-1.schema.json. */
  report: import('./greenroom-check.js').Report;
  /** What the server said when it took it. */
  kept: { id: string; code: string; status: 'accepted' | 'duplicate'; url: string } | null;
  not_sent: 'not_asked' | 'no_notice' | import('./greenroom-check.js').CheckError['reason'] | null;
}

export class Monitor extends EventTarget {
  /** What is wrong now. */
  readonly active: ReasonCode[];
  /** Looks once, now; it does so by itself every `every_ms`. */
  look(): Promise<void>;
  /** Ends watching. The close of the connection does, too. */
  stop(): void;
  /** Ends watching and gives the report. It is sent only with both: `send`, and `notice`, by which you say that the person was told. */
  end(how?: { send?: boolean; notice?: boolean; complete?: boolean }): Promise<Ended>;
  addEventListener(type: 'begin' | 'end', listener: (event: CustomEvent<Reason>) => void): void;
  addEventListener(type: 'figures', listener: (event: CustomEvent<Figures>) => void): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}

/** Watches a connection until `end()`, `stop()` or its own close. */
export function monitor(pc: RTCPeerConnection, options?: MonitorOptions): Monitor;

export interface Words {
  /** A sentence, and what to do. */
  reasons: Record<ReasonCode, [string, string | null]>;
  well: [string, string | null];
  unsure: [string, string | null];
}

/** `en`, `de`, `es`, `ja`, `ar`; English for others. From `@greenroom/check/monitor-words`. */
export function reasons(language?: string): Promise<Words>;
/** A reason's sentence and advice with its figures. From `@greenroom/check/monitor-words`. */
export function say(words: Words, reason: Pick<Reason, 'code'> & Partial<Reason>): [string, string | null];
