// A tile for each price: what it is, where it came from, and a flash when it changes.
import { draw } from "/look/charts.js";
import { make } from "/look/page.js";
import { known, number, parts, say, series, soon, words } from "./card.js";

const SHOWN = ["ACME", "BOLT", "IRIS", "NOVA", "TIDE", "WAVE"];
const part = parts("stocks"), hundredths = number(2), tenths = number(1);
const stocks = new Map(); // symbol -> { tile, price, change, svg, line, last, flips, at, dirty }

function add(symbol) {
  const price = make("b", "–", { class: "num" }), change = make("small", "", { class: "num" });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of [["class", "chart"], ["aria-hidden", "true"], ["preserveAspectRatio", "none"]]) svg.setAttribute(key, value);
  const tile = make("li", [make("p", [make("span", symbol), change], { class: "row spread" }), price, svg], { class: "tile" });
  const stock = { tile, price, change, svg, line: series(90), last: null, flips: 0, dirty: false };
  stocks.set(symbol, stock);
  part.list.replaceChildren(...SHOWN.filter((name) => stocks.has(name)).map((name) => stocks.get(name).tile));
  return stock;
}

const show = soon(() => {
  for (const stock of stocks.values()) {
    if (!stock.dirty) continue;
    stock.dirty = false;
    draw(stock.svg, [stock.line.points], { low: "auto" });
  }
});

function onPrice(data) {
  const symbol = words(data.symbol, 8), { price, changePercent } = data;
  if (!SHOWN.includes(symbol) || !known(price)) return;
  const stock = stocks.get(symbol) ?? add(symbol);
  if (stock.at !== undefined && stock.at === data.timestamp) return; // a snapshot: known already
  stock.at = data.timestamp;
  if (stock.last !== null && price !== stock.last) {
    stock.tile.dataset.flash = `${price > stock.last ? "up" : "down"}-${(stock.flips += 1) % 2}`;
  }
  stock.last = price;
  stock.line.add(Date.now(), price);
  say(stock.price, price >= 1000 ? tenths(price) : hundredths(price));
  if (known(changePercent)) {
    say(stock.change, `${changePercent < 0 ? "−" : "+"}${tenths(Math.abs(changePercent))} %`);
    stock.tile.dataset.trend = changePercent < 0 ? "down" : "up";
  }
  stock.dirty = true;
  show();
}

export default { id: "stocks", channels: /^prices|^stocks/, on: { "price-update": onPrice }, reset() {} };
