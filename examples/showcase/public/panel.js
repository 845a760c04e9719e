// The panel of the connection: how it is, what it has cost, and what it reported.
import { addRow, clock, make, REASONS } from "/look/page.js";
import { bytes, number, parts, say } from "./cards/card.js";
import { Ledger } from "./wire.js";

const REPORTS = 5;
const whole = number(0);
const PROTOCOLS = { "http/1.0": "HTTP/1.0", "http/1.1": "HTTP/1.1", h2: "HTTP/2", h3: "HTTP/3" };
const STATES = { connecting: "Connecting", open: "Live", waiting: "Waiting for the server", stale: "Nothing heard", closed: "Closed" };

/** A function that adds a sentence to a list, newest first. */
export const reporter = (list, most = REPORTS) => (text, tone) =>
  addRow(list, make("li", [make("time", clock(undefined, true)), make("span", text, { class: tone })]), most);

/** How the page itself came is how its stream comes. */
function protocol() {
  const name = performance.getEntriesByType("navigation")[0]?.nextHopProtocol;
  return name ? PROTOCOLS[name] ?? name : "–";
}

const times = (n) => (n === 1 ? "once" : `${whole(n)} times`);

export function panel(url) {
  const part = parts("connection"), ledger = new Ledger(url, reporter(part.reports));
  const totals = [document.getElementById("events"), document.getElementById("bytes")];
  let count = 0, state = "connecting", packed = "";

  // When a stream is over the browser knows what it was on the way.
  new PerformanceObserver((list) => {
    for (const { name, encodedBodySize: small, decodedBodySize: large } of list.getEntries()) {
      if (new URL(name).pathname === url.split("?")[0] && small > 0 && small < large) packed = `, ${bytes(small)} for ${bytes(large)} last time`;
    }
  }).observe({ type: "resource" });

  const show = (connection) => {
    say(totals[0], whole(count));
    say(totals[1], bytes(ledger.bytes));
    say(part.status, STATES[state]);
    say(part.received, `${bytes(ledger.bytes)}, ${whole(count)} events`);
    say(part.client, ledger.client || "–");
    say(part.id, connection.lastEventId || "–");
    say(part.compression, ledger.compression ? ledger.compression + packed : ledger.opened > 0 ? "none" : "–");
    say(part.protocol, protocol());
    say(part.resumed, ledger.resumed > 0 ? `${times(ledger.resumed)}, ${whole(ledger.caughtUp)} caught up` : "not yet");
    say(part.resets, ledger.resets > 0 ? `${whole(ledger.resets)}, last: ${REASONS[ledger.last] ?? ledger.last}` : "none");
  };

  return {
    ledger,
    event() { count += 1; },
    status(now) {
      state = now;
      ledger.status(now);
    },
    follow(connection) {
      show(connection);
      setInterval(() => show(connection), 500);
    },
  };
}
