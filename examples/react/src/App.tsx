/** All eight on one page: eight streams over HTTP/2, and one over HTTP/1.1. */
import { useState } from "react";
import logo from "../../look/logo.svg";
import { api } from "./api";
import { Dashboard } from "./components/Dashboard";
import { Device } from "./components/Device";
import { Match } from "./components/Match";
import { Monitoring } from "./components/Monitoring";
import { Notifications } from "./components/Notifications";
import { Progress } from "./components/Progress";
import { SharedDocument } from "./components/SharedDocument";
import { Stocks } from "./components/Stocks";
import { SharedStream, useSse } from "./sse";
import { Toaster, toast } from "./toast";

const MATCH = "7", DEVICE = "boiler", DOCUMENT = "tea";
const SYMBOLS = ["ACME", "BOLT", "IRIS", "NOVA", "TIDE", "WAVE"];
const ALL = `/api/showcase?match=${MATCH}&device=${DEVICE}&document=${DOCUMENT}`;
const OF = [
  "/api/dashboard-metrics", "/api/notifications", "/api/job-progress", `/api/live-match/${MATCH}`, "/api/stock-prices",
  `/api/devices/${DEVICE}/telemetry`, `/api/documents/${DOCUMENT}/collaboration`, "/api/system/monitoring",
];

/** Where everybody needs a name: without one, the server has answered 401. */
function SignIn({ done }: { done: () => void }) {
  const { error } = useSse("/api/notifications", { eventTypes: ["notification", "notification-ack", "notification-dropped"] });
  if (error?.status !== 401) return null;
  const submit = (form: FormData) =>
    api("POST", "/session", { name: form.get("name") }).then(done, ({ message }) => toast.error(message));
  return (
    <form className="notice row" action={submit}>
      <label>Nobody is signed in. Your name: <input name="name" required pattern="[A-Za-z0-9]+" maxLength={40} /></label>
      <button type="submit" className="main">Sign in</button>
    </form>
  );
}

export function App() {
  const [session, setSession] = useState(0); // another user: everything anew
  return (
    <SharedStream key={session} url={ALL} of={OF}>
      <header className="top">
        <div className="brand">
          <img className="mark" src={logo} alt="" />
          <h1>Sluice <span>and React</span></h1>
        </div>
      </header>
      <SignIn done={() => setSession(session + 1)} />
      <main className="grid">
        <Dashboard />
        <Notifications />
        <Progress />
        <Match key={MATCH} matchId={MATCH} />
        <Stocks symbols={SYMBOLS} />
        <Device deviceId={DEVICE} />
        <SharedDocument documentId={DOCUMENT} />
        <Monitoring />
      </main>
      <Toaster />
    </SharedStream>
  );
}
