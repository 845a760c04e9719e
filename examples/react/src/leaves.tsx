/** What the components are put together from. They get what they show, and know nothing of streams. */
import { useState } from "react";
import type { CSSProperties, ReactNode } from "react";
import type { Problem, Status } from "./sse";
import type {
  Alert, CursorPosition, DeviceTelemetry, MatchEvent, Notification, ServiceStatus, SystemMetrics, User,
} from "./types";

const clock = (time: string) => new Date(time).toLocaleTimeString([], { hour12: false });
const signed = (value: number, digits = 2) => (value > 0 ? "+" : "") + value.toFixed(digits);
const bytes = (value: number) => (value < 1e6 ? `${Math.round(value / 1e3)} kB/s` : `${(value / 1e6).toFixed(1)} MB/s`);

// ---- The frame of each component ------------------------------------------------------------

const WORDS: Record<Status, string> = {
  connecting: "Connecting", open: "Live", waiting: "Waiting", stale: "Silent", closed: "Closed",
};

export function StreamStatus({ status, error }: { status: Status; error: Problem | null }) {
  const why = status !== "open" && error ? (error.status ?? error.message) : null;
  return (
    <p className="state" data-state={status} title={error?.message}>
      <i className="dot" aria-hidden="true" />
      {WORDS[status]}{why !== null && `: ${why}`}
    </p>
  );
}

export function Card({ title, status, error, wide, children }: {
  title: string; status: Status; error: Problem | null; wide?: boolean; children: ReactNode;
}) {
  return (
    <section className={wide ? "card wide" : "card"} data-state={status} aria-label={title}>
      <header className="row spread">
        <h2>{title}</h2>
        <StreamStatus status={status} error={error} />
      </header>
      {children}
    </section>
  );
}

const Nothing = ({ children }: { children: ReactNode }) => <p className="none">{children}</p>;

// ---- Figures --------------------------------------------------------------------------------

export function MetricCard({ title, value, children }: {
  title: string; value?: string | number; children?: ReactNode;
}) {
  return (
    <div className="metric">
      <h3>{title}</h3>
      <p className="figure"><b>{value ?? "–"}</b></p>
      {children}
    </div>
  );
}

/** A line of the last values, from 0 to the largest. */
export function Sparkline({ values, max }: { values: number[]; max?: number }) {
  const top = max ?? Math.max(1, ...values) * 1.1;
  const at = (value: number, i: number) => `${(i * 100) / Math.max(values.length - 1, 1)},${30 - (28 * value) / top}`;
  const line = values.length > 1 ? values.map(at).join("L") : "";
  return (
    <svg className="chart" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">
      {line && <path className="area" d={`M0,30L${line}L100,30Z`} />}
      {line && <path className="line" d={`M${line}`} />}
    </svg>
  );
}

export function MetricsGrid({ metrics }: { metrics: SystemMetrics | null }) {
  return (
    <div className="metrics">
      <MetricCard title="Processors" value={metrics ? `${metrics.cpu}%` : undefined} />
      <MetricCard title="Memory" value={metrics ? `${metrics.memory} MB` : undefined} />
      <MetricCard title="Disk" value={metrics ? `${metrics.disk}%` : undefined} />
      <MetricCard title="Received" value={metrics ? bytes(metrics.network.received) : undefined} />
    </div>
  );
}

export function ServiceStatusList({ services = [] }: { services?: ServiceStatus[] }) {
  return (
    <ul className="services">
      {services.map(({ name, status }) => (
        <li key={name} data-status={status}><i className="dot" aria-hidden="true" />{name}<span>{status}</span></li>
      ))}
    </ul>
  );
}

// ---- Messages and alerts --------------------------------------------------------------------

export function NotificationItem({ notification, onRead }: { notification: Notification; onRead?: () => void }) {
  const { message, severity, from, timestamp } = notification;
  return (
    <article className="item row spread" data-severity={severity}>
      <p>{message}<small>{[from, timestamp && clock(timestamp)].filter(Boolean).join(" · ")}</small></p>
      {onRead && <button type="button" className="plain" onClick={onRead} aria-label={`Read: ${message}`}>✓</button>}
    </article>
  );
}

export function AlertsList({ alerts }: { alerts: Alert[] }) {
  return (
    <div className="alerts" role="log" aria-label="Alerts">
      {alerts.length === 0 && <Nothing>No alerts.</Nothing>}
      {alerts.map(({ id, message, severity, value, timestamp }) => (
        <article key={id} className="item" data-severity={severity}>
          <p>{message}<small>{[value, clock(timestamp)].filter((part) => part !== undefined).join(" · ")}</small></p>
        </article>
      ))}
    </div>
  );
}

export const AlertsPanel = AlertsList;

// ---- Progress -------------------------------------------------------------------------------

export function ProgressBar({ value, max, label = "Progress" }: { value: number; max: number; label?: string }) {
  return (
    <div className="bar" role="progressbar" aria-label={label} aria-valuenow={value} aria-valuemin={0} aria-valuemax={max}>
      <span style={{ "--part": (100 * value) / max } as CSSProperties} />
    </div>
  );
}

export const CheckIcon = () => <span className="check" role="img" aria-label="Done">✓</span>;

// ---- A match --------------------------------------------------------------------------------

export function ScoreBoard({ home, away }: { home: number; away: number }) {
  return (
    <p className="score" aria-label={`Home ${home}, away ${away}`}>
      <span>Home</span><b>{home}</b><i>:</i><b>{away}</b><span>Away</span>
    </p>
  );
}

export function EventsFeed({ events }: { events: MatchEvent[] }) {
  return (
    <ol className="feed num">
      {events.slice(0, 5).map(({ minute, type, team, player }, i) => (
        <li key={events.length - i} data-type={type}><time>{minute}′</time>{type}<span>{player}, {team}</span></li>
      ))}
    </ol>
  );
}

export function LiveCommentary({ entries }: { entries: string[] }) {
  return (
    <div className="commentary">
      {entries.slice(0, 3).map((text, i) => <p key={entries.length - i}>{text}</p>)}
    </div>
  );
}

// ---- Stocks ---------------------------------------------------------------------------------

export function StockCard({ symbol, price, change }: { symbol: string; price?: number; change?: number }) {
  const trend = !change ? "" : change > 0 ? "up" : "down";
  return (
    <div className={`stock ${trend}`}>
      <h3>{symbol}</h3>
      <p className="num">{price?.toFixed(2) ?? "–"}</p>
      <small className="num">{change === undefined ? "–" : `${signed(change)}%`}</small>
    </div>
  );
}

// ---- A device -------------------------------------------------------------------------------

export function DeviceStatus({ device }: { device: DeviceTelemetry | null }) {
  if (!device) return <Nothing>Nothing heard yet.</Nothing>;
  const { deviceId, status, battery, timestamp } = device;
  return (
    <p className="device" data-status={status}>
      <b>{deviceId}</b> {status}{battery !== undefined && `, battery ${battery}%`}<small>{clock(timestamp)}</small>
    </p>
  );
}

export function SensorReadings({ sensors = {} }: { sensors?: Record<string, number> }) {
  return (
    <dl className="sensors">
      {Object.entries(sensors).sort().map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
    </dl>
  );
}

// ---- A document -----------------------------------------------------------------------------

const hue = (id: string) => [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7);
const colour = (id: string) => ({ "--hue": hue(id) }) as CSSProperties;

/** Who is told of twice is one: a stream that begins anew names everybody again. */
export function ActiveUsersList({ users }: { users: User[] }) {
  const each = [...new Map(users.map((user) => [user.id, user])).values()];
  return (
    <ul className="people" aria-label="People">
      {each.map(({ id, userName }) => <li key={id} style={colour(id)}>{userName ?? id}</li>)}
    </ul>
  );
}

/** Lines, and where others are in them. Without `onLine` they can be read only. */
export function Editor({ cursors, lines, onCursor, onLine }: {
  cursors: Map<string, CursorPosition>;
  lines?: Map<number, string>;
  onCursor?: (position: CursorPosition) => void;
  onLine?: (line: number, text: string) => void;
}) {
  const [own, setOwn] = useState<{ line: number; text: string } | null>(null); // being written: not changed by others
  const last = Math.max(4, ...(lines?.keys() ?? []), ...[...cursors.values()].map(({ line }) => line));
  return (
    <ol className="editor">
      {Array.from({ length: last }, (_, i) => i + 1).map((line) => {
        const text = own?.line === line ? own.text : (lines?.get(line) ?? "");
        const tell = ({ selectionStart }: HTMLInputElement) => onCursor?.({ line, column: selectionStart ?? 0 });
        return (
          <li key={line}>
            <input
              value={text} readOnly={!onLine} aria-label={`Line ${line}`} spellCheck={false} maxLength={60}
              tabIndex={onLine ? 0 : -1}
              onFocus={() => setOwn({ line, text })}
              onBlur={() => setOwn(null)}
              onSelect={({ currentTarget }) => tell(currentTarget)}
              onChange={({ target }) => {
                setOwn({ line, text: target.value });
                onLine?.(line, target.value);
                tell(target);
              }}
            />
            {[...cursors].filter(([, at]) => at.line === line).map(([id, { column }]) => (
              <i key={id} title={id} style={{ ...colour(id), left: `${column}ch` }} aria-hidden="true" />
            ))}
          </li>
        );
      })}
    </ol>
  );
}
