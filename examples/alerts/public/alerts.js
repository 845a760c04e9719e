// The page of the alerts: one stream with the gates' figures, the alerts and what reloads said.
// The browser's EventSource comes back by itself; a reload never makes it go.
"use strict";

const URL_PATH = "/api/alerts";
const LOG_ROWS = 8;
const FRESH_MS = 6000;

const $ = (id) => document.getElementById(id);
const alerts = { state: "connecting", connections: 0, events: 0, reloads: 0, failed: 0, active: {}, last: null };
window.alerts = alerts;

let source = null;
let attempts = 0;
let fresh = 0;
let news = true; // what comes with the snapshot of a connection has happened before

const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en");

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function note(text, bad) {
  const row = element("li", bad ? "bad" : "");
  row.append(element("time", "", new Date().toLocaleTimeString("en-GB")), element("span", "", text));
  $("log").prepend(row);
  while ($("log").children.length > LOG_ROWS) $("log").lastChild.remove();
}

function setState(state, words) {
  alerts.state = state;
  $("status").dataset.state = state;
  $("main").dataset.state = state;
  if ($("status-text").textContent !== words) $("status-text").textContent = words;
}

function count() {
  for (const name of ["connections", "events", "reloads", "failed"]) $(name).textContent = whole.format(alerts[name]);
}

function parse(event) {
  alerts.events += 1;
  try { return JSON.parse(event.data); } catch { return {}; }
}

// ---- Gates --------------------------------------------------------------------------------------

const gates = new Map();

function makeGate(name) {
  const card = element("article", "card gate");
  const basin = element("div", "basin");
  const limit = element("div", "limit");
  limit.append(element("span"));
  basin.append(element("div", "water"), limit);
  const level = element("p", "level");
  level.append(element("b"), element("small"));
  card.append(element("h2", "", name), basin, level);
  $("gates").append(card);
  gates.set(name, card);
  return card;
}

function onGate(event) {
  const figures = parse(event);
  const card = gates.get(figures.gate) ?? makeGate(figures.gate);
  card.style.setProperty("--level", figures.level);
  card.style.setProperty("--limit", figures.limit ?? 200);
  card.dataset.high = String(figures.limit !== undefined && figures.level > figures.limit);
  card.querySelector(".limit span").textContent = figures.limit === undefined ? "" : `${figures.limit} %`;
  card.querySelector(".level b").textContent = `${tenths.format(figures.level)} %`;
  card.querySelector(".level small").textContent = `${tenths.format(figures.flow)} m³/s`;
  count();
}

// ---- Alerts ---------------------------------------------------------------------------------------

function drawAlerts() {
  const list = Object.values(alerts.active).sort((a, b) => a.id.localeCompare(b.id));
  $("alerts").replaceChildren(...list.map((alert) => {
    const row = element("li");
    row.dataset.severity = alert.severity;
    row.append(element("b", "", `${alert.gate}: ${alert.message}`),
      element("span", "", `${tenths.format(alert.value)} ${alert.unit}, limit ${alert.limit}`));
    return row;
  }));
  count();
}

function onAlert(event) {
  const alert = parse(event);
  if (!alerts.active[alert.id] && news) note(`${alert.gate}: ${alert.message}`, true);
  alerts.active[alert.id] = alert;
  drawAlerts();
}

function onCleared(event) {
  const alert = parse(event);
  if (alerts.active[alert.id]) note(`${alert.gate}: cleared`);
  delete alerts.active[alert.id];
  drawAlerts();
}

// ---- Reloads --------------------------------------------------------------------------------------

function onReload(event) {
  const report = parse(event);
  alerts.last = report;
  alerts[report.ok ? "reloads" : "failed"] += news ? 1 : 0;
  $("fault").hidden = report.ok;
  $("badge").textContent = `generation ${report.generation} serves`;
  clearTimeout(fresh);
  if (report.ok) {
    $("rules").dataset.state = news ? "fresh" : "ok";
    $("say").textContent = "New rules, same connection.";
    fresh = setTimeout(() => { $("rules").dataset.state = "ok"; }, FRESH_MS);
    if (news) note(`Reloaded: generation ${report.generation}`);
  } else {
    $("rules").dataset.state = "broken";
    $("say").textContent = "The rules are broken; the ones before go on.";
    $("fault").textContent = report.message.replace(/^\S*\/(?=[^/\s]+\.lua:)/, "");
    note(`Reload failed in ${report.phase}`, true);
  }
  count();
}

// ---- The connection ---------------------------------------------------------------------------------

function onHello(event) {
  const hello = parse(event);
  alerts.connections += 1;
  attempts = 0;
  news = hello.resumed;
  setTimeout(() => { news = true; }, 500);
  if (!hello.resumed) alerts.active = {};
  setState("live", "Live");
  note(alerts.connections === 1 ? "Connected" : "Connected again");
  drawAlerts();
}

function onReset() {
  alerts.active = {};
  drawAlerts();
}

function onError() {
  if (alerts.state === "live") note("The connection broke", true);
  setState("waiting", "Waiting for the server");
  if (source.readyState !== EventSource.CLOSED) return;
  attempts += 1;
  setTimeout(connect, Math.min(30000, 1000 * 2 ** Math.min(attempts, 5)) * (0.5 + Math.random() / 2));
}

function connect() {
  source = new EventSource(URL_PATH);
  source.onerror = onError;
  source.addEventListener("gate", onGate);
  source.addEventListener("alert", onAlert);
  source.addEventListener("alert-cleared", onCleared);
  source.addEventListener("reload", onReload);
  source.addEventListener("hello", onHello);
  source.addEventListener("reset", onReset);
}

connect();
