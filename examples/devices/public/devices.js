// A house of devices by one stream: where each is, how warm, what is wrong with it, and the limits, which one may change.
import { draw, range } from "/look/charts.js";
import { addRow, ask, byId, clock, follow, head, make } from "/look/page.js";
import { setting } from "/look/setting.js";

const WINDOW_MS = 3 * 60 * 1000;
const GAP_MS = 15 * 1000; // a longer pause breaks a curve
const RANKS = ["info", "warning", "high", "critical"];
const HINT = byId("saved").textContent;

const devices = new Map(); // id -> { id, about, sliders, said, last, points, alerts, pin, row, early: what came before its name }
const page = { devices, readings: 0, chosen: null };
window.page = page; // for whoever looks from the console

const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const known = (value) => typeof value === "number" && Number.isFinite(value);
const degrees = (value) => (known(value) ? `${tenths.format(value).replace("-", "−")} °C` : "–");
const brief = (value) => `${short.format(value).replace("-", "−")} °C`;
const nameOf = (device) => device.about?.name ?? device.id;

function note(text, tone, time) {
  const words = text.replaceAll(" °C", "\u00a0°C"); // in one piece
  addRow(byId("log"), make("li", [make("time", clock(time, true)), make("span", words, { class: tone })]), 9, time);
}

// ---- A device, on the plan and in the list -------------------------------------------------------------

function find(id) {
  let device = devices.get(id);
  if (!device) {
    device = { id, about: null, last: null, points: [], alerts: new Map(), early: [], said: HINT };
    device.sliders = { limit: sliderOf(device, "limit"), gap: sliderOf(device, "gap") };
    devices.set(id, device);
  }
  return device;
}

function makeViews(device) {
  const chart = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  chart.setAttribute("class", "chart");
  chart.setAttribute("preserveAspectRatio", "none");
  chart.setAttribute("aria-hidden", "true");
  device.pin = make("button", [make("span"), make("b"), make("i", "", { class: "unseen" })], { class: "pin", type: "button" });
  device.row = make("button", [make("s", "", { class: "dot", "aria-hidden": "true" }), make("span"), chart, make("b"), make("i", "", { class: "unseen" })],
    { class: "choose", type: "button" });
  for (const view of [device.pin, device.row]) view.addEventListener("click", () => choose(device.id));
  device.place = make("li", device.pin);
  byId("pins").append(device.place);
  byId("all").append(make("li", device.row));
}

/** What is worst of it: an alert, silence, nothing. */
function stateOf(device) {
  const list = [...device.alerts.values()];
  const worst = list.sort((a, b) => RANKS.indexOf(b.severity) - RANKS.indexOf(a.severity))[0];
  if (device.alerts.has("offline")) return { state: "silent", words: "silent", severity: worst.severity };
  if (!device.last) return { state: "waiting", words: "not heard yet" };
  if (worst) return { state: "alert", words: worst.rule === "battery" ? "battery low" : "too warm", severity: worst.severity };
  return { state: "online", words: device.last.status ?? "online" };
}

function mark(element, { state, severity }) {
  element.dataset.state = state;
  if (severity) element.dataset.severity = severity;
  else delete element.dataset.severity;
}

function show(device) {
  if (!device.about) return; // its telemetry came first
  if (!device.pin) makeViews(device);
  const now = stateOf(device), value = device.last?.temperature, at = device.last?.location ?? {};
  for (const view of [device.pin, device.row]) {
    mark(view, now);
    view.querySelector("span").textContent = nameOf(device);
    view.setAttribute("aria-pressed", String(page.chosen === device.id));
    view.querySelector("i").textContent = now.words;
  }
  const text = known(value) ? `${tenths.format(value).replace("-", "−")}°` : "–";
  device.pin.querySelector("b").textContent = now.severity ? `${now.state === "silent" ? "…" : "!"} ${text}` : text;
  device.row.querySelector("b").textContent = degrees(value);
  device.place.style.setProperty("--x", known(at.x) ? at.x : device.about.x);
  device.place.style.setProperty("--y", known(at.y) ? at.y : device.about.y);
  drawLine(device.row.querySelector("svg"), device);
  if (page.chosen === device.id) showChosen(device);
}

function drawLine(svg, device, levels) {
  draw(svg, [device.points], { low: "auto", gap: GAP_MS, ...levels });
}

function summarize() {
  const all = [...devices.values()].filter((d) => d.about), bad = all.filter((d) => d.alerts.size > 0).length;
  byId("summary").textContent = `${all.length} devices, ${bad === 0 ? "all is well" : `${bad} with an alert`}`;
}

// ---- The chosen one ------------------------------------------------------------------------------------

const exact = (value) => Math.round(value * 1000) / 1000;
const partsOf = ({ limit, clear }) => ({ limit, gap: exact(limit - clear) });
const levelsOf = ({ sliders: { limit, gap } }) => ({ limit: limit.value, clear: exact(limit.value - gap.value) });
const wordsOf = ({ limit, clear }) => `alert above ${brief(limit)}, over at ${brief(clear)}`;
const TELLS = {
  saved: (words) => `Saved: ${words}. The next reading is judged by it.`,
  changed: (words) => `Changed elsewhere: ${words}.`,
  failed: (words, problem) => `Not saved: ${problem.message}. It is still: ${words}.`,
};

/** What one slider stands for, the limit or the gap below it. Each is saved alone: other pages move the other one. */
function sliderOf(device, part) {
  const shown = () => { if (page.chosen === device.id) showChosen(device); };
  return setting({
    async save(value) {
      const answer = await ask("PUT", `/api/devices/${encodeURIComponent(device.id)}/limits`, { [part]: value });
      return { version: answer.version, value: partsOf(answer)[part] };
    },
    show: shown,
    tell(how, _, problem) {
      device.said = TELLS[how](wordsOf(levelsOf(device)), problem);
      shown();
    },
  });
}

const slidersOf = (device) => (device ? Object.values(device.sliders) : []);

function release(device) {
  for (const slider of slidersOf(device)) slider.release();
}

function choose(id) {
  const before = devices.get(page.chosen), device = devices.get(id);
  release(before);
  page.chosen = id;
  device.said = HINT;
  byId("device").hidden = false;
  if (before) show(before);
  show(device);
}

function showLimits(device) {
  const slider = byId("limit"), gap = byId("gap"), { limit, clear } = levelsOf(device);
  if (device.sliders.limit.settled) { // its scale stays while somebody moves it
    slider.min = Math.floor(Math.min(limit, device.last?.temperature ?? limit) - 15);
    slider.max = Math.ceil(Math.max(limit, device.last?.temperature ?? limit) + 15);
  }
  slider.value = limit;
  gap.value = device.sliders.gap.value;
  byId("limit-text").textContent = brief(limit);
  byId("gap-text").textContent = brief(clear);
  slider.setAttribute("aria-valuetext", brief(limit));
  gap.setAttribute("aria-valuetext", `${brief(clear)}, ${short.format(device.sliders.gap.value)} below the limit`);
  if (byId("saved").textContent !== device.said) byId("saved").textContent = device.said;
}

function showHeard(device) {
  const seconds = device.last ? Math.max(0, Math.round((Date.now() - device.last.t) / 1000)) : null;
  byId("heard").textContent = seconds === null ? "never" : seconds < 2 ? "now" : seconds < 120 ? `${seconds} s ago` : clock(device.last.t);
}

function showChosen(device) {
  const now = stateOf(device), seen = range(device.points), last = device.last;
  mark(byId("device"), now);
  byId("name").textContent = nameOf(device);
  byId("state").textContent = now.words;
  byId("degrees").textContent = known(last?.temperature) ? tenths.format(last.temperature).replace("-", "−") : "–";
  byId("battery").textContent = known(last?.battery) ? `${Math.round(last.battery)} %` : "mains";
  drawLine(byId("chart"), device, levelsOf(device));
  byId("chart").setAttribute("aria-label", seen ? `${nameOf(device)}, from ${degrees(seen.low)} to ${degrees(seen.high)}` : "No reading yet");
  byId("foot").textContent = seen ? `lowest ${degrees(seen.low)} · highest ${degrees(seen.high)}` : "";
  showLimits(device);
  showHeard(device);
}

for (const id of ["limit", "gap"]) {
  byId(id).addEventListener("input", () => devices.get(page.chosen).sliders[id].hold(Number(byId(id).value)));
}
// A slider that is dragged back to where it was says no "change".
for (const type of ["change", "pointerup", "pointercancel", "focusout"]) {
  document.addEventListener(type, () => release(devices.get(page.chosen)));
}
byId("limits").addEventListener("submit", (event) => event.preventDefault());

setInterval(() => {
  const device = devices.get(page.chosen);
  if (!device) return;
  if (slidersOf(device).some((slider) => slider.saving)) device.said = byId("saved").textContent = "Saving …";
  showHeard(device);
}, 1000);

// ---- Alerts ----------------------------------------------------------------------------------------------

const rows = new Map(); // id of an alert -> its line

async function acknowledge(id, button) {
  button.disabled = true;
  try {
    await ask("POST", `/api/device-alerts/${encodeURIComponent(id)}/ack`);
  } catch (problem) {
    button.disabled = false;
    note(`Not acknowledged: ${problem.message}`, "bad");
  }
}

function onAlert(alert) {
  const device = find(alert.deviceId);
  device.alerts.set(alert.rule, alert);
  if (rows.has(alert.id)) return;
  const button = make("button", "Acknowledge", { type: "button", "aria-label": `Acknowledge: ${nameOf(device)}, ${alert.message}` });
  button.addEventListener("click", () => acknowledge(alert.id, button));
  const row = make("li", [make("div", [make("b", nameOf(device)), make("span", alert.severity, { class: "badge" })], { class: "row" }),
    make("p", alert.message), make("div", [make("p", `since ${clock(alert.since, true)}`, { class: "soft small about" }), button], { class: "row" })],
  { class: "item", "data-id": alert.id, "data-rule": alert.rule, "data-device": alert.deviceId, "data-severity": alert.severity });
  rows.set(alert.id, row);
  byId("alerts").prepend(row);
  note(`${nameOf(device)}: ${alert.message}`, "bad", alert.timestamp);
}

// One alert is over; the device may have others.
function overWords(device, alert) {
  if (alert.rule === "offline") return `${nameOf(device)} is back`;
  if (alert.rule === "temperature" && known(alert.value)) return `${nameOf(device)} is back at ${degrees(alert.value)}`;
  return `${nameOf(device)}: over: ${alert.message}`;
}

function onCleared(alert) {
  const device = find(alert.deviceId);
  if (device.alerts.get(alert.rule)?.id === alert.id) device.alerts.delete(alert.rule);
  if (rows.get(alert.id)) note(overWords(device, alert), "good", alert.timestamp);
  rows.get(alert.id)?.remove();
  rows.delete(alert.id);
}

function onAck({ id, user, timestamp }) {
  const row = rows.get(id);
  if (!row || row.classList.contains("seen")) return;
  row.classList.add("seen");
  row.querySelector("button").remove();
  row.querySelector(".about").append(`; acknowledged${user ? ` by ${user}` : ""} at ${clock(timestamp)}`);
}

// ---- The stream --------------------------------------------------------------------------------------------

function onTelemetry(reading) {
  const device = find(reading.deviceId), t = Date.parse(reading.timestamp) || Date.now();
  page.readings += 1;
  device.last = { ...reading, t };
  device.points.push({ t, value: reading.temperature });
  while (t - device.points[0].t > WINDOW_MS) device.points.shift();
}

const wanted = new URLSearchParams(location.search).get("device");

function onDevice(about) {
  const device = find(about.deviceId), isNew = device.about === null;
  device.about = about;
  for (const [part, value] of Object.entries(partsOf(about))) device.sliders[part].heard(about.version, value);
  for (const late of device.early.splice(0)) late();
  if (page.chosen === null || (isNew && device.id === wanted)) choose(device.id);
}

const SHOWN = { device: onDevice, telemetry: onTelemetry, alert: onAlert, "alert-cleared": onCleared, "alert-ack": onAck };

// A newcomer gets minutes of readings at once: each device is drawn once for all of them.
const changed = new Set();

function drawChanged() {
  for (const id of changed) show(devices.get(id));
  changed.clear();
  summarize();
}

function mine(name, handle) {
  return (data) => {
    const device = data.deviceId === undefined ? null : find(data.deviceId);
    if (name.startsWith("alert") && device && !device.about) device.early.push(() => handle(data));
    else handle(data);
    if (data.deviceId === undefined) return;
    if (changed.size === 0) requestAnimationFrame(drawChanged);
    changed.add(data.deviceId);
  };
}

function onReset({ channel }) {
  for (const device of devices.values()) {
    if (channel === null || channel === `device/${device.id}`) {
      device.points = [];
      for (const slider of slidersOf(device)) slider.reset(); // perhaps the server was restarted, and has others
    }
    if (channel !== null && channel !== `device/${device.id}/alerts`) continue;
    for (const { id } of device.alerts.values()) {
      rows.get(id)?.remove();
      rows.delete(id);
    }
    device.alerts.clear();
    changed.add(device.id);
  }
  requestAnimationFrame(drawChanged);
}

head("devices");
follow("/api/floor", Object.fromEntries(Object.entries(SHOWN).map(([name, handle]) => [name, mine(name, handle)])), { onReset });
