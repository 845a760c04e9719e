// The page of the dashboard: follows one stream and draws its figures. After a break it goes on where
// it was, or is told by a reset what it cannot have. Keeps the last five minutes in memory.
import { draw, fill, range } from "/look/charts.js";
import { addRow, byId, clock, follow, head, make, REASONS } from "/look/page.js";

const WINDOW_MS = 5 * 60 * 1000; // what the curves show
const GAP_MS = 5000; // a longer pause breaks a curve
const LOG_ROWS = 6;
const IDS_KEPT = 2000;

const points = []; // { t, ...figures }, oldest first
const dashboard = { events: 0, ids: [], resumes: 0, resets: [], state: "connecting", connections: 0 };
window.dashboard = dashboard; // for whoever looks from the console

let newest = 0; // performance.now() of the last event
let again = false; // connected anew, and no event has come since
let drawing = false;

// ---- Figures and their words ----------------------------------------------------------------

const plain = (digits) => new Intl.NumberFormat("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const whole = plain(0), tenths = plain(1), hundredths = plain(2);

function scaled(value, step, units) {
  let unit = 0;
  while (value >= step * 0.9995 && unit < units.length - 1) { value /= step; unit += 1; }
  return [unit === 0 || value >= 99.95 ? whole.format(value) : tenths.format(value), units[unit]];
}
const bytes = (value) => scaled(value, 1000, ["B/s", "kB/s", "MB/s", "GB/s"]);
const megabytes = (value) => scaled(value, 1024, ["MB", "GB", "TB"]);
const few = (value) => (value >= 100 ? whole : tenths).format(value);

// A card each: how its value is written, the least height of its curve, and from where on it is high.
const CARDS = {
  cpu: { name: "CPU", text: (v) => [tenths.format(v), "%"], least: 20, most: 100, high: 90 },
  load: { name: "Load", text: (v) => [hundredths.format(v), ""], least: 1 },
  loopLagMs: { name: "Loop lag", text: (v) => [(v < 9.995 ? hundredths : tenths).format(v), "ms"], least: 2, high: 100 },
  connections: { name: "Connections", text: (v) => [whole.format(v), ""], least: 4 },
  activeUsers: { name: "Active users", text: (v) => [whole.format(v), ""], least: 4 },
  requestsPerSecond: { name: "Requests", text: (v) => [few(v), "/ s"], least: 5 },
  eventsPerSecond: { name: "Events", text: (v) => [few(v), "/ s"], least: 5 },
};

const card = (name) => document.querySelector(`[data-metric="${name}"]`);
const known = (value) => typeof value === "number" && Number.isFinite(value);
const series = (read) => points.map((p) => ({ t: p.t, value: read(p) }));
const say = (text, value) => text(value).filter(Boolean).join(" ");

function write(figure, [value, unit]) {
  figure.querySelector("b").textContent = value;
  figure.querySelector("small").textContent = unit;
}

function drawCard(name, spec) {
  const box = card(name), line = series((p) => p[name]), seen = range(line), last = line[line.length - 1].value;
  write(box.querySelector(".figure"), known(last) ? spec.text(last) : ["–", spec.text(0)[1]]);
  box.classList.toggle("high", known(last) && last >= (spec.high ?? Infinity));
  if (!seen) return;
  const svg = box.querySelector(".chart");
  draw(svg, [line], { least: spec.least, most: spec.most, gap: GAP_MS });
  svg.setAttribute("aria-label",
    `${spec.name} over the last minutes, from ${say(spec.text, seen.low)} to ${say(spec.text, seen.high)}`);
  box.querySelector(".foot").textContent = `mean ${spec.text(seen.mean)[0]} · peak ${spec.text(seen.high)[0]}`;
}

function drawNetwork() {
  const box = card("network");
  const lines = [series((p) => p.network?.received), series((p) => p.network?.sent)];
  box.querySelectorAll(".figure").forEach((figure, i) => {
    const last = lines[i][lines[i].length - 1].value;
    write(figure, known(last) ? bytes(last) : ["–", ""]);
  });
  const seen = lines.map(range);
  if (!seen[0] || !seen[1]) return;
  const svg = box.querySelector(".chart");
  draw(svg, lines, { least: 2000, gap: GAP_MS });
  const peaks = `peak ${bytes(seen[0].high).join(" ")} in · ${bytes(seen[1].high).join(" ")} out`;
  svg.setAttribute("aria-label", `Network over the last minutes, in upwards and out downwards, ${peaks}`);
  box.querySelector(".foot").textContent = peaks;
}

function drawShare(name, percent, high, figure, foot) {
  const box = card(name);
  write(box.querySelector(".figure"), figure);
  fill(box.querySelector(".bar"), percent);
  box.classList.toggle("high", percent >= high);
  box.querySelector(".foot").textContent = foot;
}

function drawMemoryAndDisk() {
  const { memory, memoryTotal, disk } = points[points.length - 1];
  if (known(memory) && memoryTotal > 0) {
    const percent = (100 * memory) / memoryTotal;
    drawShare("memory", percent, 92, megabytes(memory), `${tenths.format(percent)} % of ${megabytes(memoryTotal).join(" ")}`);
  }
  if (known(disk)) drawShare("disk", disk, 90, [tenths.format(disk), "%"], `${tenths.format(100 - disk)} % free`);
  else card("disk").querySelector(".foot").textContent = "not known on this machine";
}

// Many events in one turn (a replay) are one drawing.
function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawStream();
    if (points.length === 0) return;
    for (const [name, spec] of Object.entries(CARDS)) drawCard(name, spec);
    drawNetwork();
    drawMemoryAndDisk();
  });
}

// ---- The connection -----------------------------------------------------------------------------

const times = (n, none) => (n === 0 ? none : n === 1 ? "once" : `${whole.format(n)} times`);

function drawStream() {
  byId("events").textContent = whole.format(dashboard.events);
  byId("last-id").textContent = stream.lastEventId || "–";
  byId("epoch").textContent = stream.lastEventId.slice(0, stream.lastEventId.lastIndexOf("-")) || "–";
  byId("resumed").textContent = times(dashboard.resumes, "not yet");
  byId("resets").textContent = times(dashboard.resets.length, "none");
  drawAge();
}

function drawAge() {
  const seconds = Math.round((performance.now() - newest) / 1000);
  byId("age").textContent = newest === 0 ? "–" : seconds < 2 ? "just now" : `${whole.format(seconds)} s ago`;
}

function note(text, bad) {
  addRow(byId("log"), make("li", [make("time", clock(undefined, true)), make("span", text, { class: bad && "warn" })]), LOG_ROWS);
}

function onStatus(state) {
  if (dashboard.state === "open" && state !== "open") note("The connection broke", true);
  if (state === "open" && dashboard.state !== "stale") {
    dashboard.connections += 1;
    again = dashboard.connections > 1;
    note(again ? "Connected again" : "Connected");
  }
  dashboard.state = state;
}

function onMetrics(figures, { id }) {
  const t = Date.parse(figures.timestamp) || Date.now();
  newest = performance.now();
  dashboard.events += 1;
  dashboard.ids.push(id);
  if (dashboard.ids.length > IDS_KEPT) dashboard.ids.shift();
  if (again) {
    dashboard.resumes += 1;
    note("Resumed: nothing was missed");
    again = false;
  }
  // After a reset the stream may begin earlier than this page had come.
  while (points.length > 0 && points[points.length - 1].t >= t) points.pop();
  points.push({ ...figures, t });
  while (t - points[0].t > WINDOW_MS) points.shift();
  drawSoon();
}

function onReset(reset) {
  again = false;
  dashboard.resets.push(reset);
  note(`Reset: ${REASONS[reset.reason] ?? reset.reason}`, true);
  drawSoon();
}

head("dashboard");
const stream = follow("/api/dashboard-metrics", { "metrics-update": onMetrics }, { onReset, onStatus });
setInterval(drawAge, 1000);
