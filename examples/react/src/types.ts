/** What the server's events carry; the fields of figures are those of the kit's modules. */
export interface Metrics {
  cpu: number; // %
  memory: number; // MB
  memoryTotal: number;
  disk: number; // %
  load: number;
  network: { received: number; sent: number }; // bytes a second
  activeUsers: number;
  connections: number;
  requestsPerSecond: number;
  eventsPerSecond: number;
  timestamp: string;
}
export type DashboardMetrics = Metrics;

export interface NotificationMessage {
  id: string;
  type: string;
  message: string;
  severity: "info" | "warning" | "high" | "critical";
  title?: string;
  from?: string;
  timestamp: string;
}
export type Notification = NotificationMessage;

export interface Job {
  jobId: string;
  status: "queued" | "running" | "success" | "failed" | "cancelled";
  processed: number;
  total: number;
  percentage: number;
  currentItem?: string;
  error?: string;
}

export interface MatchEvent {
  matchId: string;
  type: string;
  team: "home" | "away";
  player?: string;
  minute: number;
  score: { home: number; away: number };
}

export interface StockPrice {
  symbol: string;
  price: number;
  change: number;
  changePercent: number;
  volume: number;
  timestamp: string;
}

export interface DeviceTelemetry {
  deviceId: string;
  status?: string;
  battery?: number;
  location?: { latitude: number; longitude: number };
  sensorData?: Record<string, number>;
  timestamp: string;
}

export interface Alert {
  id: string;
  rule: string;
  severity: string;
  message: string;
  value?: number;
  since: string;
  timestamp: string;
}
export type SystemAlert = Alert;

export interface User {
  id: string;
  userId: string;
  userName?: string;
}

export interface CursorPosition {
  line: number;
  column: number;
}

export interface ServiceStatus {
  name: string;
  status: string;
}

export interface SystemMetrics extends Metrics {
  services: ServiceStatus[];
}
