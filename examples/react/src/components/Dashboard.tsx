/** This machine, once a second: the newest figures, and the last minute as lines. */
import { Card, MetricCard, Sparkline } from "../leaves";
import { useSseTyped } from "../sse";
import type { Metrics } from "../types";

export function Dashboard() {
  const { events, lastEvent, status, error } = useSseTyped<Metrics>("/api/dashboard-metrics", {
    eventTypes: ["metrics-update"],
  });
  const minute = events.slice(-60);
  return (
    <Card title="Dashboard" status={status} error={error} wide>
      <div className="metrics">
        <MetricCard title="Processors" value={lastEvent ? `${lastEvent.cpu}%` : undefined}>
          <Sparkline values={minute.map(({ cpu }) => cpu)} max={100} />
        </MetricCard>
        <MetricCard title="Memory" value={lastEvent ? `${lastEvent.memory} MB` : undefined}>
          <Sparkline values={minute.map(({ memory }) => memory)} max={lastEvent?.memoryTotal} />
        </MetricCard>
        <MetricCard title="Connections" value={lastEvent?.connections}>
          <Sparkline values={minute.map(({ connections }) => connections)} />
        </MetricCard>
        <MetricCard title="Events a second" value={lastEvent?.eventsPerSecond}>
          <Sparkline values={minute.map(({ eventsPerSecond }) => eventsPerSecond)} />
        </MetricCard>
      </div>
    </Card>
  );
}
