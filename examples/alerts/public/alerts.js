// The page of the alerts: one stream with the gates' figures, the alerts and what reloads said. A reload
// never makes it go; it counts its connections to show that.
import { addRow, byId, clock, follow, head, make } from "/look/page.js";

const LOG_ROWS = 8;
const FRESH_MS = 6000;

const alerts = { state: "connecting", connections: 0, events: 0, reloads: 0, failed: 0, active: {}, last: null };
window.alerts = alerts; // for whoever looks from the console

let fresh = 0;
let news = false; // what comes with the snapshot of a connection has happened before

const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en");

function note(text, bad) {
  addRow(byId("log"), make("li", [make("time", clock(undefined, true)), make("span", text, { class: bad && "bad" })]), LOG_ROWS);
}

function count() {
  for (const name of ["connections", "events", "reloads", "failed"]) byId(name).textContent = whole.format(alerts[name]);
}

// ---- Gates --------------------------------------------------------------------------------------

const gates = new Map();

function makeGate(name) {
  const card = make("article", [
    make("h2", name),
    make("div", [make("div", "", { class: "water" }), make("div", make("span"), { class: "limit" })], { class: "basin", "aria-hidden": "true" }),
    make("p", [make("b"), make("small")], { class: "level" }),
  ], { class: "card gate" });
  byId("gates").append(card);
  gates.set(name, card);
  return card;
}

function onGate(figures) {
  const card = gates.get(figures.gate) ?? makeGate(figures.gate);
  card.style.setProperty("--level", figures.level);
  card.style.setProperty("--limit", figures.limit ?? 200);
  card.dataset.high = String(figures.limit !== undefined && figures.level > figures.limit);
  card.querySelector(".limit span").textContent = figures.limit === undefined ? "" : `${figures.limit} %`;
  card.querySelector(".level b").textContent = `${tenths.format(figures.level)} %`;
  card.querySelector(".level small").textContent = `${tenths.format(figures.flow)} m³/s`;
  drawAlerts(figures.gate, figures);
}

// ---- Alerts ---------------------------------------------------------------------------------------

/** What it is now, beside the limit; the alert itself says what it was. */
function figuresOf(alert, figures) {
  const now = figures ? `now ${tenths.format(figures.level)} ${alert.unit}, ` : "";
  return `${now}${tenths.format(alert.value)} ${alert.unit} when it began, limit ${alert.limit}`;
}

function drawAlerts(gate, figures) {
  const list = Object.values(alerts.active).sort((a, b) => a.id.localeCompare(b.id));
  const shown = new Map([...byId("alerts").children].map((row) => [row.dataset.id, row]));
  for (const alert of list) {
    const row = shown.get(alert.id) ?? make("li", [make("b", `${alert.gate}: ${alert.message}`), make("p", "", { class: "soft small num" })],
      { class: "item", "data-id": alert.id, "data-severity": alert.severity });
    if (!shown.delete(alert.id)) byId("alerts").append(row);
    if (alert.gate === gate || !row.querySelector("p").textContent) {
      row.querySelector("p").textContent = figuresOf(alert, alert.gate === gate && figures);
    }
  }
  for (const row of shown.values()) row.remove();
}

function onAlert(alert) {
  if (!alerts.active[alert.id] && news) note(`${alert.gate}: ${alert.message}`, true);
  alerts.active[alert.id] = alert;
  drawAlerts();
}

function onCleared(alert) {
  if (alerts.active[alert.id]) note(`${alert.gate}: cleared`);
  delete alerts.active[alert.id];
  drawAlerts();
}

// ---- Reloads --------------------------------------------------------------------------------------

function onReload(report) {
  alerts.last = report;
  alerts[report.ok ? "reloads" : "failed"] += news ? 1 : 0;
  byId("fault").hidden = report.ok;
  byId("badge").textContent = `generation ${report.generation} serves`;
  clearTimeout(fresh);
  if (report.ok) {
    byId("rules").dataset.state = news ? "fresh" : "ok";
    byId("say").textContent = "New rules, same connection.";
    fresh = setTimeout(() => { byId("rules").dataset.state = "ok"; }, FRESH_MS);
    if (news) note(`Reloaded: generation ${report.generation}`);
  } else {
    byId("rules").dataset.state = "broken";
    byId("say").textContent = "The rules are broken; the ones before go on.";
    byId("fault").textContent = report.message.replace(/^\S*\/(?=[^/\s]+\.lua:)/, "");
    note(`Reload failed in ${report.phase}`, true);
  }
}

// ---- The connection ---------------------------------------------------------------------------------

function onStatus(state) {
  if (alerts.state === "open" && state === "waiting") note("The connection broke", true);
  if (state === "open" && alerts.state !== "stale") {
    alerts.connections += 1;
    news = alerts.connections > 1;
    setTimeout(() => { news = true; }, 500);
    note(alerts.connections === 1 ? "Connected" : "Connected again");
  }
  alerts.state = state;
  count();
}

function onReset() {
  alerts.active = {};
  drawAlerts();
}

const SHOWN = { gate: onGate, alert: onAlert, "alert-cleared": onCleared, reload: onReload };

head("alerts");
follow("/api/alerts", Object.fromEntries(Object.entries(SHOWN).map(([name, show]) => [name, (data) => {
  alerts.events += 1;
  show(data);
  count();
}])), { onStatus, onReset });
