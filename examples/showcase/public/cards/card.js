/**
 * What the cards share. A card is { id, channels, on: { type: fn(data, event) }, reset() }: it shows some types of
 * events, and forgets when the server says that something of its channels was lost.
 */
import { draw, range } from "/look/charts.js";

export const known = (value) => typeof value === "number" && Number.isFinite(value);

/** What an event says as words, however long, or whatever it is. */
export const words = (value, most = 120) => {
  const text = typeof value === "string" ? value : known(value) ? String(value) : "";
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
};

/** Numbers with so many digits behind the point; a dash for what is none. */
export const number = (digits = 0) => {
  const format = new Intl.NumberFormat("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
  return (value) => (known(value) ? format.format(value) : "–");
};

const POINTS = 300;
const UNITS = ["B", "kB", "MB", "GB"];
const tenths = number(1), whole = number(0);

export function bytes(value) {
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  return `${unit === 0 || value >= 99.95 ? whole(value) : tenths(value)} ${UNITS[unit]}`;
}

/** The elements of a card by their data-is. */
export function parts(id) {
  const found = {};
  for (const element of document.querySelectorAll(`#${id} [data-is]`)) found[element.dataset.is] = element;
  return found;
}

/** A function that does it once a frame, however often it is called. */
export function soon(fn) {
  let waits = false;
  return () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => { waits = false; fn(); });
  };
}

export { say } from "/look/page.js";

/** The newest values of something within so many seconds, oldest first. The same moment twice (a snapshot) counts once. */
export function series(seconds) {
  const points = [];
  return {
    points,
    add(time, value) {
      const t = Date.parse(time) || time || Date.now();
      while (points.length > 0 && points[points.length - 1].t >= t) points.pop();
      points.push({ t, value });
      while (t - points[0].t > seconds * 1000 || points.length > POINTS) points.shift();
    },
    clear: () => points.splice(0),
  };
}

/** A line of what is known, with its words for those who do not see it. */
export function line(svg, { points }, label, unit, options) {
  const seen = range(points);
  draw(svg, [points], options);
  if (seen) svg.setAttribute("aria-label", `${label}, from ${tenths(seen.low)} to ${tenths(seen.high)}${unit}`);
  return seen;
}
