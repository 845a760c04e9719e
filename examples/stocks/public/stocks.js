"use strict";
// One EventSource for what was asked for. Picking other symbols or another rate opens another URL;
// each opens with the newest price of every symbol, so the page never has a gap.

const RATES = [0.5, 1, 2, 5, 10, 20];
const POINTS = 60;
const INDEX = "SLX"; // comes whatever is picked
let names = []; // all symbols that are traded

const byId = (id) => document.getElementById(id);
const stocks = new Map(); // symbol -> { card, price, change, line, points, n }
const second = { events: 0, bytes: 0, skipped: 0 };
let skipped = 0;
let source;

function setStatus(state, text) {
  byId("status").dataset.state = state;
  byId("status").textContent = text;
}

function makeCard(symbol) {
  const card = document.createElement("article");
  card.className = "card";
  card.dataset.symbol = symbol;
  card.innerHTML = "<header><b></b><span></span></header><p class=price>–</p>" +
    '<svg viewBox="0 0 100 30" preserveAspectRatio="none" role="img"><polyline/></svg>';
  card.querySelector("b").textContent = symbol;
  byId("grid").append(card);
  return { card, price: card.querySelector(".price"), change: card.querySelector("span"),
    line: card.querySelector("polyline"), svg: card.querySelector("svg"), points: [], n: 0 };
}

function draw(stock) {
  const low = Math.min(...stock.points), range = Math.max(...stock.points) - low || 1;
  stock.line.setAttribute("points", stock.points.map((p, i) =>
    `${(100 * i) / (POINTS - 1)},${(28 - (26 * (p - low)) / range).toFixed(1)}`).join(" "));
}

function showChange(place, percent) {
  place.textContent = (percent < 0 ? "−" : "+") + Math.abs(percent).toFixed(2) + " %";
  place.className = percent < 0 ? "down" : "up";
}

function onIndex(message) {
  const event = JSON.parse(message.data);
  byId("index").textContent = event.value.toLocaleString("en", { minimumFractionDigits: 2 });
  showChange(byId("index-change"), event.changePercent);
}

function onPrice(message) {
  const event = JSON.parse(message.data);
  const stock = stocks.get(event.symbol);
  if (!stock) return;
  second.events += 1;
  second.bytes += message.data.length + "event: price-update\ndata: \n\n".length;
  const missed = stock.n && event.n > stock.n ? event.n - stock.n - 1 : 0;
  second.skipped += missed;
  skipped += missed;
  stock.n = event.n;
  stock.points.push(event.price);
  if (stock.points.length > POINTS) stock.points.shift();
  const change = event.changePercent;
  stock.price.textContent = event.price.toFixed(2);
  showChange(stock.change, change);
  stock.svg.setAttribute("class", change < 0 ? "down" : "up");
  stock.svg.setAttribute("aria-label", `${event.symbol} at ${event.price.toFixed(2)}`);
  stock.dirty = true;
}

function connect() {
  if (source) source.close();
  const picked = [...document.querySelectorAll("#picker input:checked")].map((box) => box.value);
  const rate = RATES[byId("rate").value];
  byId("rate-text").textContent = rate;
  for (const name of names) {
    const stock = stocks.get(name);
    if (picked.includes(name)) {
      if (!stock) stocks.set(name, makeCard(name));
      else stock.n = 0;
    } else if (stock) {
      stock.card.remove();
      stocks.delete(name);
    }
  }
  for (const name of names) if (stocks.has(name)) byId("grid").append(stocks.get(name).card);
  const symbols = picked.length < names.length ? `symbols=${[...picked, INDEX].join(",")}&` : "";
  source = new EventSource(`/api/stock-prices?${symbols}max_rate=${rate}`);
  source.addEventListener("price-update", onPrice);
  source.addEventListener("index-update", onIndex);
  source.addEventListener("hello", (message) => {
    const hello = JSON.parse(message.data);
    setStatus("open", `Live, at most ${hello.max_rate} a second`);
    for (const stock of stocks.values()) stock.n = 0; // what was missed meanwhile was not replaced
  });
  source.onerror = () => setStatus("waiting", "The connection is lost: it comes back by itself");
}

function tellSecond() {
  byId("events").textContent = second.events;
  byId("bytes").textContent = (second.bytes / 1000).toFixed(1);
  byId("skipped").textContent = second.skipped;
  byId("total").textContent = skipped.toLocaleString("en");
  Object.assign(second, { events: 0, bytes: 0, skipped: 0 });
}

function frame() {
  for (const stock of stocks.values()) {
    if (stock.dirty) draw(stock);
    stock.dirty = false;
  }
  requestAnimationFrame(frame);
}

function pick(wanted) {
  for (const box of document.querySelectorAll("#picker input")) box.checked = wanted(box.value);
  connect();
}

function addToPicker(name) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", value: name, checked: true });
  label.append(box, name);
  byId("picker").append(label);
}

async function start() {
  names = await (await fetch("/api/symbols")).json();
  names.forEach(addToPicker);
  connect();
}

byId("picker").addEventListener("change", connect);
byId("all").addEventListener("click", () => pick(() => true));
byId("few").addEventListener("click", () => pick((name) => ["ACME", "NOVA", "VOLT"].includes(name)));
byId("rate").addEventListener("change", connect);
start();
frame();
setInterval(tellSecond, 1000);
