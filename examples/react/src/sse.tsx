/**
 * React hooks for event streams, on sluice.js. One file, to copy.
 *
 *   useSse("/api/prices", { eventTypes: ["price"], onMessage: (event) => show(event.data) });
 *   const { lastEvent, status } = useSseTyped<Price>("/api/prices", { eventTypes: ["price"] });
 *
 * Callbacks are those of the last render, and changing them opens nothing. Hooks that ask the same have one
 * stream; those below a SharedStream have one for several URLs. Kept in memory: the last 100 events of a hook.
 */
import { createContext, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { ReactNode } from "react";
import { connect } from "sluice-client";
import type { Options, SseEvent, Status } from "sluice-client";

export type { Options, SseEvent, Status };

const EVENTS_MAX = 100;

/** Why there is no stream: `status` is that of HTTP, 401 when nobody is signed in. */
export interface Problem {
  status?: number;
  message: string;
}

export interface SseResult<E> {
  status: Status;
  /** The last failure, until the stream is open again. */
  error: Problem | null;
  /** Oldest first. */
  events: E[];
  lastEvent: E | null;
}

export type TypedOptions<T> = Omit<Options<T>, "onMessage" | "filter"> & {
  onMessage?: (data: T, event: SseEvent<T>) => void;
  filter?: (data: T, event: SseEvent<T>) => boolean;
};

// ---- One stream for several URLs ------------------------------------------------------------

interface Shared {
  url: string;
  of: readonly string[];
}

const SharedContext = createContext<Shared | null>(null);

/** Whether the page came by a protocol that carries all streams over one connection. */
function isMultiplexed(): boolean {
  const [page] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  return /^h[23]/.test(page?.nextHopProtocol ?? "");
}

/**
 * Hooks below that ask for a URL in `of` take their events from the stream of `url`, which has all of them;
 * the names of the events tell them apart. Over HTTP/2 each has its own stream, unless `always`.
 */
export function SharedStream({ url, of, always = false, children }: Shared & { always?: boolean; children: ReactNode }) {
  const list = of.join(" ");
  const shared = useMemo(
    () => (always || !isMultiplexed() ? { url, of: list.split(" ") } : null),
    [url, list, always],
  );
  return <SharedContext value={shared}>{children}</SharedContext>;
}

/** What is asked, in place of `url`: a hook that narrows what the server sends has a stream of its own. */
function target<T>(url: string, options: Options<T>, shared: Shared | null): string {
  const { keys, maxRate, method = "GET" } = options;
  const narrows = keys || maxRate || method !== "GET";
  return shared && !narrows && shared.of.includes(url) ? shared.url : url;
}

// ---- The hooks ------------------------------------------------------------------------------

const START = { status: "connecting" as Status, error: null, events: [], lastEvent: null };

/** Follow a stream while the component is there; a `url` of null pauses, and goes on where it was. */
export function useSse<T = any>(url: string | null, options: Options<T> = {}): SseResult<SseEvent<T>> {
  const shared = useContext(SharedContext);
  const [state, setState] = useState<SseResult<SseEvent<T>>>(START);
  const latest = useRef(options);
  const place = useRef({ opens: "", id: "", user: "" });
  useLayoutEffect(() => void (latest.current = options));

  const { eventTypes, keys, maxRate, throttle, withCredentials, token, headers, method, body } = options;
  const to = url === null ? null : target(url, options, shared);
  const opens = JSON.stringify([to, url, withCredentials, token, headers, method, body]); // functions are left out
  const asks = JSON.stringify([eventTypes, keys, maxRate, throttle]);

  useEffect(() => {
    if (to === null || url === null) return;
    const again = place.current.opens === opens;
    let alive = true; // what this effect itself closes is no news
    const change = (next: (before: SseResult<SseEvent<T>>) => SseResult<SseEvent<T>>) => alive && setState(next);
    const types = latest.current.eventTypes ?? ["message"];
    change((before) => (again ? { ...before, status: "connecting" } : START));
    const connection = connect<T>(to, {
      ...latest.current,
      eventTypes: to === url ? types : ["*"], // all that share a stream ask the same
      ackUrl: latest.current.ackUrl ?? url.split("?")[0] + "/ack",
      ...(again && place.current.id && { lastEventId: place.current.id, user: place.current.user }),
      filter: (event) => (to === url || types.includes(event.type) || types.includes("*"))
        && (latest.current.filter?.(event) ?? true),
      onMessage(event) {
        setState((before) => ({ ...before, lastEvent: event, events: [...before.events.slice(1 - EVENTS_MAX), event] }));
        latest.current.onMessage?.(event); // when it closes, too: what a throttle held
      },
      onReset(reset) {
        if (reset.channel === null) change((before) => ({ ...before, events: [], lastEvent: null }));
        latest.current.onReset?.(reset);
      },
      onStatus(status) {
        change((before) => ({ ...before, status, error: status === "open" ? null : before.error }));
        if (alive) latest.current.onStatus?.(status);
      },
      onError(error) {
        change((before) => ({ ...before, error }));
        latest.current.onError?.(error);
      },
    });
    return () => {
      alive = false;
      place.current = { opens, id: connection.lastEventId, user: connection.user };
      connection.close();
    };
  }, [opens, asks]);

  return url === null ? { ...state, status: "closed" } : state;
}

/** The same for who wants the data alone. */
export function useSseTyped<T>(url: string | null, options: TypedOptions<T> = {}): SseResult<T> {
  const { onMessage, filter, ...rest } = options;
  const { status, error, events, lastEvent } = useSse<T>(url, {
    ...rest,
    onMessage: onMessage && ((event) => onMessage(event.data, event)),
    filter: filter && ((event) => filter(event.data, event)),
  });
  const data = useMemo(() => events.map((event) => event.data), [events]);
  return { status, error, events: data, lastEvent: lastEvent && lastEvent.data };
}
