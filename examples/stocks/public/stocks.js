// One stream for what was asked for. Picking other symbols or another rate asks for something else; each
// opens with the newest price of every symbol, so the page never has a gap.
import { draw } from "/look/charts.js";
import { ask, byId, follow, head, make } from "/look/page.js";

const RATES = [0.5, 1, 2, 5, 10, 20];
const POINTS = 60;
const INDEX = "SLX"; // comes whatever is picked
const FEW = ["ACME", "NOVA", "VOLT"];

const stocks = new Map(); // symbol -> { card, price, change, svg, points, n, dirty }
const second = { events: 0, bytes: 0, skipped: 0 };
let names = []; // all symbols that are traded
let skipped = 0;
let stream = null;
window.stocks = stocks; // for whoever looks from the console

function makeStock(symbol) {
  const change = make("span"), price = make("p", "–", { class: "price" });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of [["class", "chart"], ["role", "img"], ["preserveAspectRatio", "none"]]) svg.setAttribute(key, value);
  const card = make("article", [make("div", [make("h2", symbol), change], { class: "row spread" }), price, svg],
    { class: "card", "data-symbol": symbol });
  return { card, change, price, svg, points: [], n: 0, dirty: false };
}

function signed(percent) {
  return `${percent < 0 ? "−" : "+"}${Math.abs(percent).toFixed(2)} %`;
}

function onIndex({ value, changePercent }) {
  byId("index").textContent = value.toLocaleString("en", { minimumFractionDigits: 2 });
  byId("index-change").textContent = signed(changePercent);
  byId("index-change").className = changePercent < 0 ? "down" : "up";
}

function onPrice(price) {
  const stock = stocks.get(price.symbol);
  if (!stock) return;
  second.events += 1;
  second.bytes += JSON.stringify(price).length + "event: price-update\ndata: \n\n".length;
  const missed = stock.n && price.n > stock.n ? price.n - stock.n - 1 : 0;
  second.skipped += missed;
  skipped += missed;
  stock.n = price.n;
  stock.points.push({ t: Date.now(), value: price.price });
  if (stock.points.length > POINTS) stock.points.shift();
  stock.last = price;
  stock.dirty = true;
}

function drawStock(stock) {
  const { symbol, price, changePercent } = stock.last;
  stock.dirty = false;
  stock.price.textContent = price.toFixed(2);
  stock.change.textContent = signed(changePercent);
  stock.change.className = changePercent < 0 ? "down" : "up";
  stock.card.className = `card ${changePercent < 0 ? "down" : "up"}`;
  draw(stock.svg, [stock.points], { low: "auto" });
  stock.svg.setAttribute("aria-label", `${symbol}, the last ${stock.points.length} changes`);
}

// ---- What is asked for --------------------------------------------------------------------------

const picked = () => [...document.querySelectorAll("#picker input:checked")].map((box) => box.value);

function showCards(wanted) {
  for (const name of names) {
    const stock = stocks.get(name);
    if (stock && !wanted.includes(name)) {
      stock.card.remove();
      stocks.delete(name);
    } else if (!stock && wanted.includes(name)) stocks.set(name, makeStock(name));
    else if (stock) stock.n = 0; // what was missed meanwhile was not replaced
  }
  byId("grid").append(...names.filter((name) => stocks.has(name)).map((name) => stocks.get(name).card));
}

function words(wanted, rate) {
  byId("rate-text").textContent = rate;
  byId("rate").setAttribute("aria-valuetext", `at most ${rate} a second`);
  byId("picked").textContent = wanted.length === names.length ? `all ${names.length}` : wanted.join(", ") || "none";
}

function change() {
  const wanted = picked(), rate = RATES[byId("rate").value];
  words(wanted, rate);
  showCards(wanted);
  stream?.close();
  stream = follow("/api/stock-prices", { "price-update": onPrice, "index-update": onIndex }, {
    live: `Live, at most ${rate} a second`,
    keys: wanted.length < names.length ? [...wanted, INDEX] : undefined,
    maxRate: rate,
    onStatus: () => { for (const stock of stocks.values()) stock.n = 0; },
  });
}

function pick(wanted) {
  for (const box of document.querySelectorAll("#picker input")) box.checked = wanted(box.value);
  change();
}

// ---- Begin, and go on --------------------------------------------------------------------------------

function tellSecond() {
  byId("events").textContent = second.events;
  byId("bytes").textContent = (second.bytes / 1000).toFixed(1);
  byId("skipped").textContent = second.skipped;
  byId("total").textContent = skipped.toLocaleString("en");
  Object.assign(second, { events: 0, bytes: 0, skipped: 0 });
}

function frame() {
  for (const stock of stocks.values()) if (stock.dirty) drawStock(stock);
  requestAnimationFrame(frame);
}

async function start() {
  try {
    names = await ask("GET", "/api/symbols");
  } catch {
    setTimeout(start, 3000); // the server is away
    return;
  }
  for (const name of names) {
    const box = make("input", "", { type: "checkbox", value: name });
    box.checked = true;
    byId("picker").append(make("label", [box, name]));
  }
  change();
}

head("stocks");
byId("picker").addEventListener("change", change);
byId("all").addEventListener("click", () => pick(() => true));
byId("few").addEventListener("click", () => pick((name) => FEW.includes(name)));
byId("rate").addEventListener("change", change);
start();
frame();
setInterval(tellSecond, 1000);
