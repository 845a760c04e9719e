/** How a connection is: stale means that nothing was heard for longer than a heartbeat. */
export type Status = "connecting" | "open" | "waiting" | "stale" | "closed";

export interface SseEvent<T = any> {
  type: string;
  /** What `parse` made of it: JSON as what it says, other text as it is. */
  data: T;
  /** The event's own id; empty for events of a state and for what is sent to one client. */
  id: string;
  /** POST { ids: [data.id] } to `ackUrl`. Rejects when that is refused. */
  ack(): Promise<void>;
}

/** Something was lost, or another user has signed in: discard what was built from that channel (null: all). */
export interface Reset {
  channel: string | null;
  reason: string;
  from: string | null;
  oldest: string | null;
}

export interface Options<T = any> {
  /** Listened to, and asked of the server; ["*"] is all. Default: ["message"], events without a name. */
  eventTypes?: readonly string[];
  keys?: readonly string[];
  /** Events a second and key of a state, at most. */
  maxRate?: number;
  /** Here, after the server's filters. */
  filter?: (event: SseEvent<T>) => boolean;
  onMessage?: (event: SseEvent<T>) => void;
  onReset?: (reset: Reset) => void;
  onStatus?: (status: Status) => void;
  onError?: (problem: { status?: number; message: string }) => void;
  /** The newest of each type, at most every so many milliseconds, or once a frame; what waits comes at the close. */
  throttle?: number | "frame";
  /** Go on after this id; with `user` of the connection it came from, a reset when that is another now. */
  lastEventId?: string;
  user?: string;
  /** Cookies go to other origins too. */
  withCredentials?: boolean;
  /** A one-use ticket, sent as ?ticket=; a function is asked before each request. */
  token?: string | (() => string | Promise<string>);
  /** Headers of each request; a function is asked before each. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  method?: "GET" | "POST";
  /** Of a POST: a text, or a value that is sent as JSON. */
  body?: unknown;
  /** false: never ask for single answers in place of a stream. */
  fallback?: "poll" | false;
  /** Milliseconds without a first word until then. Default: 10000. */
  fallbackAfter?: number;
  /** One stream for all tabs, by a SharedWorker where there is one. */
  share?: boolean;
  /** Default: the path of the URL and "/ack". */
  ackUrl?: string;
  /** When it throws, that is reported, and `data` is undefined. */
  parse?: (text: string) => unknown;
  signal?: AbortSignal;
}

export interface Connection {
  /** What \`throttle\` holds is given first. */
  close(): void;
  /** Ask for something else; it goes on after the newest id. Resolves when that is open. */
  set(changes: { keys?: readonly string[]; maxRate?: number; eventTypes?: readonly string[] }): Promise<void>;
  readonly status: Status;
  /** The server's name for this stream. */
  readonly client: string;
  readonly lastEventId: string;
  /** Who that is for, in the server's words: for `user` of the next connection. */
  readonly user: string;
}

export function connect<T = any>(url: string, options?: Options<T>): Connection;
