/** The figures at the top, with the last two minutes of each, and the slowest readers. */
import { asker, brief, byId, bytes, count, duration, make, rate, say, size, table, who } from "./dom.js";

const KEPT = 120; // pulses
const NS = "http://www.w3.org/2000/svg";

/** Name, unit, and what of two pulses is shown: [text, unit], and the value of its line. */
const CARDS = [
  { name: "Events sent", wide: true, line: (p) => p.rates.delivered, show: (p) => [rate(p.rates.delivered), "/s"],
    foot: (p) => `${count(p.delivered)} since the start` },
  { name: "Bytes sent", wide: true, line: (p) => p.rates.delivered_bytes, show: (p) => bytes(p.rates.delivered_bytes), after: "/s",
    foot: (p) => `${size(p.delivered_bytes)} since the start` },
  { name: "Streams", line: (p) => p.streams, show: (p) => [count(p.streams), ""],
    foot: (p) => `${count(p.connections)} connections` },
  { name: "Published", line: (p) => p.rates.published, show: (p) => [rate(p.rates.published), "/s"],
    foot: (p) => `${count(p.channels)} ${p.channels === 1 ? "channel" : "channels"} in memory` },
  { name: "Requests", line: (p) => p.rates.requests, show: (p) => [rate(p.rates.requests), "/s"],
    foot: (p) => `${count(p.refusals)} over a limit` },
  { name: "Lost to readers", line: (p) => p.rates.lost, show: (p) => [rate(p.rates.lost), "/s"], high: (p) => p.rates.lost > 0,
    foot: (p) => `${count(p.resets)} resets, ${count(p.dropped)} dropped` },
  { name: "Behind", line: (p) => p.behind, show: (p) => [count(p.behind), p.behind === 1 ? "reader" : "readers"],
    high: (p) => p.behind > 0, foot: (p) => (p.behind > 0 ? `at most ${size(p.lag_bytes)}` : "all have what they follow") },
  { name: "Held events", line: (p) => p.held_bytes, show: (p) => bytes(p.held_bytes),
    high: (p) => p.held_bytes > 0.9 * p.held_most, foot: (p) => `of ${size(p.held_most)}` },
  { name: "Lua memory", line: (p) => p.heap, show: (p) => bytes(p.heap), foot: () => "of the script" },
  { name: "Loop lag", line: (p) => p.loop_lag_ms, show: (p) => [p.loop_lag_ms < 10 ? p.loop_lag_ms.toFixed(1) : count(p.loop_lag_ms), "ms"],
    high: (p) => p.loop_lag_ms > 100, foot: () => "how late the thread is" },
];

/** A line of values in a box of 1000 by 100, with its area. */
function draw(svg, values) {
  const top = Math.max(...values, Number.MIN_VALUE) * 1.08, last = KEPT - 1;
  const x = (at) => ((1000 * (at + KEPT - values.length)) / last).toFixed(1);
  const line = values.map((value, at) => `${x(at)} ${(98 - (94 * value) / top).toFixed(1)}`).join("L");
  svg.children[1].setAttribute("d", `M${line}L1000 100L${x(0)} 100Z`);
  svg.children[2].setAttribute("d", `M${line}`);
}

function chart(name) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("class", "chart");
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${name}, the last two minutes`);
  for (const kind of ["base", "area", "line"]) {
    const path = document.createElementNS(NS, "path");
    path.setAttribute("class", kind);
    svg.append(path);
  }
  svg.firstChild.setAttribute("d", "M0 99.5H1000");
  return svg;
}

const cards = CARDS.map((card) => {
  const number = make("b", "–"), unit = make("small"), foot = make("p", "", { class: "foot" }), svg = chart(card.name);
  const place = make("article", [make("h2", card.name), make("p", [number, unit], { class: "figure" }), svg, foot],
    { class: card.wide ? "card wide" : "card" });
  byId("figures").append(place);
  return { ...card, number, unit, foot_: foot, svg, place, values: [] };
});

const slowest = table(byId("slowest"), [
  { name: "Client", cell: (row) => asker("client", row.client), keep: true },
  { name: "Stream", cell: (row) => brief(row.path ?? ""), wide: true },
  { name: "From", cell: who, wide: true },
  { name: "Most of", cell: (row) => (row.channel ? asker("channel", row.channel) : "") },
  { name: "Events", cell: (row) => count(row.lag_events), num: true, wide: true },
  { name: "Bytes", cell: (row) => size(row.lag_bytes), num: true },
  { name: "For", cell: (row) => duration(row.behind_for), num: true },
], (row) => row.client, "Nobody lags: every reader has what its channels have.");

let before = null;

const RATES = ["delivered", "delivered_bytes", "published", "requests"];
const lost = (p) => p.resets + p.dropped;

function rates(now) {
  const seconds = before ? now.at - before.at : 0, out = {};
  const of = (a, b) => (seconds > 0 ? Math.max(0, a - b) / seconds : 0);
  for (const name of RATES) out[name] = of(now[name], before?.[name]);
  out.lost = of(lost(now), before ? lost(before) : 0);
  return out;
}

/** Show a pulse. */
export function show(now) {
  now.rates = rates(now);
  now.refusals = Object.values(now.refused).reduce((sum, n) => sum + n, 0);
  before = now;
  for (const card of cards) {
    const [number, unit] = card.show(now);
    say(card.number, number);
    say(card.unit, unit + (card.after ?? ""));
    say(card.foot_, card.foot(now));
    card.place.classList.toggle("high", Boolean(card.high?.(now)));
    card.values.push(card.line(now));
    if (card.values.length > KEPT) card.values.shift();
    draw(card.svg, card.values);
  }
  slowest(now.slowest);
  say(byId("slow-foot"), now.behind > now.slowest.length ? `${count(now.slowest.length)} of ${count(now.behind)}` : "");
}

/** Another server, or the same one again: what was counted before is not to be compared. */
export function forget() {
  before = null;
  for (const card of cards) card.values = [];
}
