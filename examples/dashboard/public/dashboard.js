// The page of the dashboard: follows one stream and draws it. The browser's EventSource comes
// back by itself and says where it stood; the server then sends what was missed, or `reset`
// with the reason when it cannot. Keeps the last five minutes of figures in memory.
"use strict";

const URL_PATH = "/api/dashboard-metrics";
const WINDOW_MS = 5 * 60 * 1000;   // what the curves show, once there is so much
const WINDOW_LEAST_MS = 60 * 1000; // ... and before
const GAP_MS = 5000;               // a longer pause breaks a curve
const SILENT_MS = 45000;           // no event for so long: the connection is dead, open another
const LOG_ROWS = 6;
const IDS_KEPT = 2000;

const REASONS = {
  epoch: "the server was restarted and counts anew",
  restart: "the server was restarted and counts anew",
  trimmed: "what came meanwhile is no longer kept",
  slow: "this page read too slowly",
  future: "the server does not know how far this page is",
  unknown_id: "the server does not know how far this page is",
  denied: "this page may no longer read the channel",
  failover: "another server took over",
  drain: "the server is stopping",
  overload: "the server is busy",
  stop: "the server ended the stream permanently",
};

const $ = (id) => document.getElementById(id);
const points = [];                 // { t, ...figures }, oldest first
const dashboard = { events: 0, ids: [], hellos: [], resets: [], lastId: "", state: "connecting" };
window.dashboard = dashboard;

let source = null;
let lastEventAt = 0;
let resumes = 0;
let attempts = 0;
let drawing = false;
let calm = 0;
let goodbye = false;               // the server said that it would end the stream

// ---- Figures and their words ----------------------------------------------------------------

const plain = (digits) => new Intl.NumberFormat("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const whole = plain(0);
const tenths = plain(1);
const hundredths = plain(2);

function bytes(perSecond) {
  const units = ["B/s", "kB/s", "MB/s", "GB/s"];
  let value = perSecond;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return [unit === 0 || value >= 99.95 ? whole.format(value) : tenths.format(value), units[unit]];
}

function megabytes(value) {
  return value < 1024 ? [whole.format(value), "MB"] : [tenths.format(value / 1024), "GB"];
}

const short = (value) => (value >= 100 ? whole : tenths).format(value);

// One card each: how to read its value from a point, how to write it, the least height of its
// curve (so that noise near zero stays small), and from where on it is high.
const CARDS = {
  cpu: { name: "CPU", read: (p) => p.cpu, text: (v) => [tenths.format(v), "%"], least: 20, most: 100, high: 90 },
  load: { name: "Load", read: (p) => p.load, text: (v) => [hundredths.format(v), ""], least: 1 },
  loopLagMs: { name: "Loop lag", read: (p) => p.loopLagMs, text: (v) => [hundredths.format(v), "ms"], least: 2, high: 100 },
  connections: { name: "Connections", read: (p) => p.connections, text: (v) => [whole.format(v), ""], least: 4 },
  activeUsers: { name: "Active users", read: (p) => p.activeUsers, text: (v) => [whole.format(v), ""], least: 4 },
  requestsPerSecond: { name: "Requests", read: (p) => p.requestsPerSecond, text: (v) => [short(v), "/ s"], least: 5 },
  eventsPerSecond: { name: "Events", read: (p) => p.eventsPerSecond, text: (v) => [short(v), "/ s"], least: 5 },
};

const card = (name) => document.querySelector(`[data-metric="${name}"]`);
const known = (value) => typeof value === "number" && Number.isFinite(value);

function write(figure, pair) {
  figure.querySelector("b").textContent = pair[0];
  figure.querySelector("small").textContent = pair[1];
}

// ---- Curves -----------------------------------------------------------------------------------

// Curves live in a box of 1000 by 100 that is stretched; they end short of its right edge,
// where a dot marks the newest value.
const RIGHT = 985;

// The pieces of a curve between gaps, as [x, y].
function pieces(read, top) {
  const list = [];
  const end = points[points.length - 1].t;
  const span = Math.max(WINDOW_LEAST_MS, end - points[0].t);
  let before = -Infinity;
  for (const p of points) {
    const value = read(p);
    if (!known(value)) continue;
    if (p.t - before > GAP_MS) list.push([]);
    before = p.t;
    const x = RIGHT * (1 - (end - p.t) / span);
    list[list.length - 1].push([x.toFixed(1), (98 - 94 * Math.min(1, Math.max(0, value / top))).toFixed(2)]);
  }
  return list;
}

function draw(svg, reads, top) {
  let shapes = '<path class="base" d="M0 99.5H1000"/>';
  reads.forEach((read, i) => {
    const kind = i === 0 ? "" : " two";
    let newest = null;
    for (const piece of pieces(read, top)) {
      newest = piece[piece.length - 1];
      const line = piece.map(([x, y]) => `${x} ${y}`).join("L");
      if (piece.length > 1) {
        shapes += `<path class="area${kind}" d="M${line}L${piece[piece.length - 1][0]} 100L${piece[0][0]} 100Z"/>`;
      }
      shapes += `<path class="line${kind}" d="M${line}${piece.length > 1 ? "" : "h.1"}"/>`;
    }
    if (newest) shapes += `<path class="tip${kind}" d="M${newest[0]} ${newest[1]}h.01"/>`;
  });
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.innerHTML = shapes;
}

function range(read) {
  const values = points.map(read).filter(known);
  if (values.length === 0) return null;
  let low = Infinity, high = -Infinity, sum = 0;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); sum += v; }
  return { low, high, mean: sum / values.length };
}

const say = (text, value) => text(value).filter(Boolean).join(" ");
const count = (n, one, many) => `${whole.format(n)} ${n === 1 ? one : many}`;

function drawCard(name, spec) {
  const box = card(name);
  const last = spec.read(points[points.length - 1]);
  const seen = range(spec.read);
  write(box.querySelector(".figure"), known(last) ? spec.text(last) : ["–", spec.text(0)[1]]);
  box.classList.toggle("high", known(last) && last >= (spec.high ?? Infinity));
  if (!seen) return;
  const svg = box.querySelector(".chart");
  draw(svg, [spec.read], Math.min(spec.most ?? Infinity, Math.max(spec.least, seen.high * 1.15)));
  svg.setAttribute("aria-label", `${spec.name} over the last five minutes, from ${say(spec.text, seen.low)} to ${say(spec.text, seen.high)}`);
  box.querySelector(".foot").textContent = `mean ${spec.text(seen.mean)[0]} · peak ${spec.text(seen.high)[0]}`;
}

function drawNetwork() {
  const box = card("network");
  const reads = [(p) => p.network?.received, (p) => p.network?.sent];
  const [received, sent] = reads.map((read) => read(points[points.length - 1]));
  const figures = box.querySelectorAll(".figure");
  write(figures[0], known(received) ? bytes(received) : ["–", ""]);
  write(figures[1], known(sent) ? bytes(sent) : ["–", ""]);
  const seen = reads.map(range);
  if (!seen[0] || !seen[1]) return;
  const svg = box.querySelector(".chart");
  draw(svg, reads, Math.max(2000, seen[0].high, seen[1].high) * 1.05);
  const peaks = `peak ${bytes(seen[0].high).join(" ")} in · ${bytes(seen[1].high).join(" ")} out`;
  svg.setAttribute("aria-label", `Network over the last five minutes, ${peaks}`);
  box.querySelector(".foot").textContent = peaks;
}

function drawBar(name, percent, high) {
  const box = card(name);
  box.querySelector(".bar span").style.setProperty("--part", String(Math.min(100, Math.max(0, percent))));
  box.classList.toggle("high", percent >= high);
}

function drawMemoryAndDisk() {
  const p = points[points.length - 1];
  if (known(p.memory) && p.memoryTotal > 0) {
    const percent = (100 * p.memory) / p.memoryTotal;
    write(card("memory").querySelector(".figure"), megabytes(p.memory));
    card("memory").querySelector(".foot").textContent = `${tenths.format(percent)} % of ${megabytes(p.memoryTotal).join(" ")}`;
    drawBar("memory", percent, 92);
  }
  if (known(p.disk)) {
    write(card("disk").querySelector(".figure"), [tenths.format(p.disk), "%"]);
    card("disk").querySelector(".foot").textContent = `${tenths.format(100 - p.disk)} % free`;
    drawBar("disk", p.disk, 90);
  } else {
    card("disk").querySelector(".foot").textContent = "not known on this machine";
  }
}

// Many events in one turn (a replay) are one drawing.
function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (points.length > 0) {
      for (const [name, spec] of Object.entries(CARDS)) drawCard(name, spec);
      drawNetwork();
      drawMemoryAndDisk();
    }
    drawStream();
  });
}

// ---- The connection -----------------------------------------------------------------------------

function drawStream() {
  $("events").textContent = whole.format(dashboard.events);
  $("last-id").textContent = dashboard.lastId || "–";
  $("epoch").textContent = dashboard.hellos[dashboard.hellos.length - 1]?.epoch ?? "–";
  $("resumed").textContent = resumes === 1 ? "once" : resumes === 0 ? "not yet" : `${resumes} times`;
  $("resets").textContent = dashboard.resets.length === 0 ? "none" : whole.format(dashboard.resets.length);
  drawAge();
}

function drawAge() {
  const seconds = Math.round((performance.now() - lastEventAt) / 1000);
  $("age").textContent = lastEventAt === 0 ? "–" : seconds < 2 ? "just now" : `${whole.format(seconds)} s ago`;
}

const STATE_WORDS = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Waiting for the server",
  closed: "Closed by the server",
};

function setState(state, words) {
  dashboard.state = state;
  $("status").dataset.state = state;
  $("main").dataset.state = state;
  const text = words ?? STATE_WORDS[state];
  if ($("status-text").textContent !== text) $("status-text").textContent = text;
}

// Live, with a word on how: it has been read after a while.
function setLive(words) {
  setState("live", words);
  clearTimeout(calm);
  calm = setTimeout(() => { if (dashboard.state === "live") setState("live"); }, 10000);
}

function note(text, warn) {
  const row = document.createElement("li");
  const time = document.createElement("time");
  const words = document.createElement("span");
  time.textContent = new Date().toLocaleTimeString("en-GB");
  words.textContent = text;
  row.append(time, words);
  if (warn) row.className = "warn";
  $("log").prepend(row);
  while ($("log").children.length > LOG_ROWS) $("log").lastChild.remove();
}

function parse(text) {
  try { return JSON.parse(text); } catch { return {}; }
}

// Whatever carries an id moves the place from which the stream would go on.
function received(event) {
  lastEventAt = performance.now();
  if (event.lastEventId) dashboard.lastId = event.lastEventId;
  return parse(event.data);
}

function onMetrics(event) {
  const figures = received(event);
  const t = Date.parse(figures.timestamp) || Date.now();
  dashboard.events += 1;
  dashboard.ids.push(event.lastEventId);
  if (dashboard.ids.length > IDS_KEPT) dashboard.ids.shift();
  // After a reset the stream may begin earlier than this page had come.
  while (points.length > 0 && points[points.length - 1].t >= t) points.pop();
  points.push({ ...figures, t });
  while (t - points[0].t > WINDOW_MS) points.shift();
  drawSoon();
}

function onHello(event) {
  const hello = received(event);
  const first = dashboard.hellos.length === 0;
  dashboard.hellos.push(hello);
  attempts = 0;
  goodbye = false;
  if (hello.resumed) {
    resumes += 1;
    note(hello.replay > 0 ? `Resumed: ${count(hello.replay, "missed event follows", "missed events follow")}` : "Resumed: nothing was missed");
  } else {
    note(first ? "Connected" : "Connected again");
  }
  setLive(hello.resumed ? "Live, resumed" : "Live");
  drawSoon();
}

function onReset(event) {
  const reset = received(event);
  dashboard.resets.push(reset);
  const missed = known(reset.missed) ? `, ${count(reset.missed, "event", "events")} lost` : "";
  note(`Reset: ${REASONS[reset.reason] ?? reset.reason}${missed}`, true);
  setLive("Live, started anew");
  drawSoon();
}

function onBye(event) {
  const bye = received(event);
  goodbye = true;
  note(`Goodbye: ${REASONS[bye.reason] ?? bye.reason}`, true);
}

function onError() {
  if (dashboard.state === "live" && !goodbye) note("The connection broke", true);
  if (source.readyState !== EventSource.CLOSED) return setState("waiting");
  // An answer that was no stream ends an EventSource permanently: make another one, later.
  source.close();
  if (dashboard.lastId === "stop") return setState("closed");
  attempts += 1;
  setState("waiting");
  setTimeout(connect, Math.min(30000, 1000 * 2 ** Math.min(attempts, 5)) * (0.5 + Math.random() / 2));
}

function connect() {
  // A new EventSource has forgotten the id, so the address says it.
  source = new EventSource(dashboard.lastId ? `${URL_PATH}?lastEventId=${encodeURIComponent(dashboard.lastId)}` : URL_PATH);
  source.onerror = onError;
  source.addEventListener("metrics-update", onMetrics);
  source.addEventListener("hello", onHello);
  source.addEventListener("reset", onReset);
  source.addEventListener("sync", received);
  source.addEventListener("bye", onBye);
}

function watch() {
  drawAge();
  const silent = lastEventAt > 0 && performance.now() - lastEventAt > SILENT_MS;
  if (!silent || source.readyState !== EventSource.OPEN) return;
  note("Nothing came for a while: connecting anew", true);
  lastEventAt = performance.now();
  source.close();
  setState("waiting");
  connect();
}

connect();
setInterval(watch, 1000);
