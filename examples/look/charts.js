/**
 * Small charts as SVG, right at any length of history: a line with its area, two lines of which the second is drawn
 * downwards, a limit. The box is 1000 by 100 and stretched; strokes keep their width (look.css).
 *
 *   draw(svg, [[{ t, value }, ...]], { least: 20, most: 100, limit: 90, gap: 5000 });
 *   draw(svg, [points], { low: "auto", limit: 80, clear: 75 });
 */
const INSET = 8; // pixels at the right, for the dot of the newest value

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** Lowest, highest and mean of what is known; null when nothing is. */
export function range(points) {
  const values = points.map((p) => p.value).filter(known);
  if (values.length === 0) return null;
  let low = Infinity, high = -Infinity, sum = 0;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); sum += v; }
  return { low, high, mean: sum / values.length };
}

/** The pieces of a line between gaps, as [x, y]. */
function pieces(points, { from, span, right, gap, height }) {
  const list = [];
  let before = null;
  for (const p of points) {
    if (!known(p.value)) continue;
    if (before === null || p.t - before > gap) list.push([]);
    before = p.t;
    const x = span > 0 ? right * ((p.t - from) / span) : right;
    list[list.length - 1].push([x.toFixed(1), height(p.value).toFixed(2)]);
  }
  return list;
}

function shapes(list, kind, base) {
  let made = "";
  for (const piece of list) {
    const line = piece.map(([x, y]) => `${x} ${y}`).join("L"), end = piece[piece.length - 1];
    if (piece.length > 1) made += `<path class="area${kind}" d="M${line}L${end[0]} ${base}L${piece[0][0]} ${base}Z"/>`;
    made += `<path class="line${kind}" d="M${line}${piece.length > 1 ? "" : "h.1"}"/>`;
  }
  const last = list[list.length - 1];
  const tip = last?.[last.length - 1];
  return tip ? `${made}<path class="tip${kind}" d="M${tip[0]} ${tip[1]}h.01"/>` : made;
}

/**
 * Draw one line, or two of which the second goes downwards from the middle. `least`: the top is that high at least, so
 * that noise near zero stays small; `most`: and never higher; `low`: where it begins (0), or "auto"; `gap`:
 * milliseconds without a value break the line; `limit`: a dashed line, and with `clear` the band between them. With
 * "auto" both are always in sight. What there is fills the width.
 */
export function draw(svg, lines, { least = 1, most = Infinity, low = 0, gap = Infinity, limit, clear } = {}) {
  const all = lines.flat(), seen = range(all);
  svg.setAttribute("viewBox", "0 0 1000 100");
  if (!seen) return svg.replaceChildren();
  const times = all.map((p) => p.t), from = Math.min(...times), span = Math.max(...times) - from;
  const auto = low === "auto", levels = auto ? [limit, clear].filter(known) : [];
  const lowest = Math.min(seen.low, ...levels), highest = Math.max(seen.high, ...levels);
  const margin = (highest - lowest || 1) * 0.08;
  const bottom = auto ? lowest - margin : low;
  const top = auto ? highest + margin : Math.min(most, Math.max(least, seen.high * 1.08));
  const part = (value) => Math.min(1, Math.max(0, (value - bottom) / (top - bottom)));
  const right = 1000 - Math.min(120, (1000 * INSET) / (svg.clientWidth || 400));
  const two = lines.length > 1, base = two ? 50 : 99.5, reach = two ? 46 : 94;
  const place = (sign) => ({ from, span, right, gap, height: (v) => (two ? 50 : 98) - sign * reach * part(v) });
  let made = `<path class="base" d="M0 ${base}H1000"/>`;
  const level = (value) => place(1).height(value).toFixed(2);
  if (known(limit) && known(clear)) made += `<path class="band" d="M0 ${level(limit)}H1000V${level(clear)}H0Z"/>`;
  if (known(limit)) made += `<path class="limit" d="M0 ${level(limit)}H1000"/>`;
  lines.forEach((points, i) => { made += shapes(pieces(points, place(i === 0 ? 1 : -1)), i === 0 ? "" : " two", two ? 50 : 100); });
  svg.innerHTML = made; // of numbers only
}

/** Fill a .bar to so many percent. */
export function fill(bar, percent) {
  bar.firstElementChild.style.setProperty("--part", String(Math.min(100, Math.max(0, percent))));
}
