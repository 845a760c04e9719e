// This machine and its alerts, by one stream. An alert stays until it is cleared; acknowledged, it says by whom.
import { draw, fill, range } from "/look/charts.js";
import { addRow, ask, byId, clock, follow, head, make, say, showRows } from "/look/page.js";

const WINDOW_MS = 30 * 60 * 1000;
const GAP_MS = 45 * 1000; // a longer pause breaks a curve

const points = []; // { t, cpu, memory }, oldest first
const rows = new Map(); // id of an alert -> its line
const monitoring = { samples: 0, rows };
window.monitoring = monitoring; // for whoever looks from the console

const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const known = (value) => typeof value === "number" && Number.isFinite(value);
const gigabytes = (bytes) => `${tenths.format(bytes / 1e9)} GB`;

function note(text, tone, time) {
  addRow(byId("log"), make("li", [make("time", clock(time, true)), make("span", text, { class: tone })]), 8, time);
}

// ---- Figures --------------------------------------------------------------------------------------

function drawCard(name, label, high) {
  const box = document.querySelector(`[data-metric="${name}"]`);
  const line = points.map((p) => ({ t: p.t, value: p[name] })), seen = range(line), last = line[line.length - 1].value;
  if (!seen) return;
  box.querySelector("b").textContent = known(last) ? tenths.format(last) : "–";
  box.classList.toggle("high", known(last) && last >= high);
  const svg = box.querySelector(".chart");
  draw(svg, [line], { least: 100, most: 100, gap: GAP_MS, limit: high });
  svg.setAttribute("aria-label", `${label}, from ${tenths.format(seen.low)} to ${tenths.format(seen.high)} %`);
  box.querySelector(".foot").textContent = `mean ${tenths.format(seen.mean)} · peak ${tenths.format(seen.high)} · alert at ${high}`;
}

const SERVICES = {
  keyOf: ({ name }) => name,
  makeRow: ({ name }) => make("li", [make("span", "", { class: "dot", "aria-hidden": "true" }),
    make("span", name, { class: "grow" }), make("span", "", { class: "soft" })]),
  write(row, { status, reason }) {
    row.dataset.state = status;
    say(row.lastChild, reason ? `${status}: ${reason}` : status);
  },
};

const DISKS = {
  keyOf: ({ path }) => path,
  makeRow: ({ path }) => make("li", [make("div", [make("code", path), make("span", "", { class: "soft num" })], { class: "row spread" }),
    make("div", make("span"), { class: "bar", "aria-hidden": "true" })]),
  write(row, { percent, free, reason }) {
    say(row.querySelector(".num"), known(percent) ? `${tenths.format(percent)} %, ${gigabytes(free)} free` : reason ?? "");
    if (known(percent)) fill(row.lastChild, percent);
    row.classList.toggle("high", percent >= 90);
  },
};

function onMetrics(sample) {
  const t = Date.parse(sample.timestamp) || Date.now();
  monitoring.samples += 1;
  points.push({ t, cpu: sample.cpu, memory: sample.memoryTotal > 0 ? (100 * sample.memory) / sample.memoryTotal : undefined });
  while (t - points[0].t > WINDOW_MS) points.shift();
  drawCard("cpu", "CPU", 90);
  drawCard("memory", "Memory", 95);
  showRows(byId("services"), sample.services ?? [], SERVICES);
  showRows(byId("disks"), sample.disks ?? [], DISKS);
}

// ---- Alerts -----------------------------------------------------------------------------------------

async function acknowledge(id, button) {
  button.disabled = true;
  try {
    await ask("POST", `/api/alerts/${encodeURIComponent(id)}/ack`);
  } catch (problem) {
    button.disabled = false;
    note(`Not acknowledged: ${problem.message}`, "bad");
  }
}

function onAlert(alert) {
  if (rows.has(alert.id)) return;
  const button = make("button", "Acknowledge", { type: "button", "aria-label": `Acknowledge: ${alert.message}` });
  button.addEventListener("click", () => acknowledge(alert.id, button));
  const row = make("li", [make("p", [make("span", alert.severity, { class: "badge" }), " ", make("b", alert.message)]),
    make("div", [make("p", `${alert.category ? `${alert.category}, ` : ""}since ${clock(alert.since)}`, { class: "soft small about" }), button], { class: "row" })],
  { class: "item", "data-rule": alert.rule, "data-severity": alert.severity });
  rows.set(alert.id, row);
  byId("alerts").prepend(row);
  note(alert.message, "bad", alert.timestamp);
}

const SHOWN = {
  "system-metrics": onMetrics,
  "system-alert": onAlert,
  "system-alert-cleared": ({ id, message, timestamp }) => {
    rows.get(id)?.remove();
    rows.delete(id);
    note(`Over: ${message}`, "good", timestamp);
  },
  "system-alert-ack": ({ id, user, timestamp }) => {
    const row = rows.get(id);
    if (!row || row.classList.contains("seen")) return;
    row.classList.add("seen");
    row.querySelector("button").remove();
    row.querySelector(".about").append(`; acknowledged${user ? ` by ${user}` : ""} at ${clock(timestamp)}`);
  },
};

head("monitoring");
follow("/api/system/monitoring", SHOWN, { onReset: ({ channel }) => {
  if (channel === "system/metrics") return;
  rows.clear();
  byId("alerts").replaceChildren();
} });
