/** A device: its newest readings, and the alerts that are still true. */
import { useState } from "react";
import { AlertsList, Card, DeviceStatus, SensorReadings } from "../leaves";
import { useSse } from "../sse";
import type { Alert, DeviceTelemetry } from "../types";

export function Device({ deviceId }: { deviceId: string }) {
  const [telemetry, setTelemetry] = useState<DeviceTelemetry | null>(null);
  const [alerts, setAlerts] = useState<Alert[]>([]);

  const { status, error } = useSse(`/api/devices/${encodeURIComponent(deviceId)}/telemetry`, {
    eventTypes: ["telemetry", "alert", "alert-cleared"],
    onMessage({ type, data }) {
      if (type === "telemetry") return setTelemetry(data);
      setAlerts((list) => list.filter(({ rule }) => rule !== data.rule));
      if (type === "alert") setAlerts((list) => [data, ...list]);
    },
    onReset: ({ channel }) => (channel === null || channel.startsWith("device/")) && setAlerts([]),
  });

  return (
    <Card title="Device" status={status} error={error}>
      <DeviceStatus device={telemetry} />
      <SensorReadings sensors={telemetry?.sensorData} />
      <AlertsList alerts={alerts} />
    </Card>
  );
}
