// The showcase: one stream with the events of all pages. Each card takes those of its types, the log takes all.
import { byId, follow, head, make } from "/look/page.js";
import chat from "./cards/chat.js";
import dashboard from "./cards/dashboard.js";
import devices from "./cards/devices.js";
import editor from "./cards/editor.js";
import match from "./cards/match.js";
import monitoring from "./cards/monitoring.js";
import notifications from "./cards/notifications.js";
import progress from "./cards/progress.js";
import stocks from "./cards/stocks.js";
import * as demo from "./demo.js";
import * as lab from "./lab.js";
import * as log from "./log.js";
import { panel } from "./panel.js";
import * as rules from "./rules.js";

const URL_OF_ALL = "/api/showcase?match=7&device=boiler&document=welcome";
const CARDS = [dashboard, notifications, progress, match, stocks, devices, editor, monitoring, chat];

const shown = new Map(); // type -> the cards that take it
for (const card of CARDS) for (const type of Object.keys(card.on)) shown.set(type, [...(shown.get(type) ?? []), card]);

/** Whoever has a key may post any event with any data: a card that cannot read one leaves it, and nothing else stops. */
function give(event) {
  if (typeof event.data !== "object" || event.data === null) return;
  for (const card of shown.get(event.type) ?? []) {
    try { card.on[event.type](event.data, event); } catch (problem) { console.debug(card.id, event, problem); }
  }
}

function onMessage(event) {
  connection.event();
  log.add(event);
  give(event);
  if (event.type === "reload" && typeof event.data === "object" && event.data) {
    rules.onReload(event.data);
    log.askTypes();
  }
}

/** What was built from a channel is discarded; what it is now follows. */
function onReset({ channel }) {
  for (const card of CARDS) if (channel === null || card.channels.test(channel)) card.reset();
}

function onError({ status }) {
  if (status !== 401 || byId("refused")) return;
  document.querySelector("main").prepend(make("p", "Nobody is signed in, and this server asks who you are: start it with --demo to look around as alice.",
    { id: "refused", class: "notice" }));
}

head("showcase");
const connection = panel(URL_OF_ALL);
const stream = follow(URL_OF_ALL, {}, { eventTypes: ["*"], onMessage, onReset, onError, onStatus: connection.status });
connection.follow(stream);
log.start(rules.showCode);
rules.start();
demo.start();
lab.start();
