/** A server: figures, services, and the alerts that are still true. */
import { useState } from "react";
import { AlertsPanel, Card, MetricsGrid, ServiceStatusList } from "../leaves";
import { useSse } from "../sse";
import type { SystemAlert, SystemMetrics } from "../types";

export function Monitoring() {
  const [metrics, setMetrics] = useState<SystemMetrics | null>(null);
  const [alerts, setAlerts] = useState<SystemAlert[]>([]);

  const { status, error } = useSse("/api/system/monitoring", {
    eventTypes: ["system-metrics", "system-alert", "system-alert-cleared"],
    onMessage({ type, data }) {
      if (type === "system-metrics") return setMetrics(data);
      setAlerts((list) => list.filter(({ rule }) => rule !== data.rule));
      if (type === "system-alert") setAlerts((list) => [data, ...list]);
    },
    onReset: ({ channel }) => (channel === null || channel === "system/alerts") && setAlerts([]),
  });

  return (
    <Card title="Monitoring" status={status} error={error} wide>
      <MetricsGrid metrics={metrics} />
      <ServiceStatusList services={metrics?.services} />
      <AlertsPanel alerts={alerts} />
    </Card>
  );
}
