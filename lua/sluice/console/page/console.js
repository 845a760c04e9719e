/**
 * The console: one stream of the server's own, which tells once a second what it does. The admin key comes from the
 * part of the address behind "#key=", which no browser sends, or from the form; it is kept in memory alone.
 */
import { connect } from "./sluice.js";
import { byId, clock, duration, say } from "./dom.js";
import * as figures from "./figures.js";
import * as forms from "./forms.js";
import * as lists from "./lists.js";
import * as log from "./log.js";
import * as past from "./past.js";

const QUIET = 5000; // milliseconds without a pulse: the script is busy, or waits
const here = (path) => new URL(path, import.meta.url).href;

let key = "", connection = null, started = null, code = null, pulsed = 0;

// ---- The key ------------------------------------------------------------------------------------------------

/** The key in the address, which is taken out of it at once. */
function take() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given === null) return false;
  history.replaceState(null, "", location.pathname);
  key = given.trim();
  return key !== "";
}

const authorization = () => ({ Authorization: `Bearer ${key}` });

function askForKey(why) {
  connection?.close();
  connection = null;
  key = "";
  byId("board").hidden = true;
  byId("door").hidden = false;
  say(byId("door-said"), why);
  show("closed", "No key");
  byId("door-key").focus();
}

async function ask(method, path, body, signal) {
  const headers = { ...authorization(), ...(body && { "Content-Type": "application/json" }) };
  const answer = await fetch(here(path), { method, headers, body: body && JSON.stringify(body), signal, cache: "no-store", credentials: "omit" });
  if (answer.status === 401) askForKey("The server does not take this key any more.");
  const foreign = { error: { message: `What answered (${answer.status}) is not this server: a proxy is in between.` } };
  return { status: answer.status, data: await answer.json().catch(() => foreign) };
}

// ---- What comes ---------------------------------------------------------------------------------------------

const WORDS = { connecting: "Connecting", open: "Live", waiting: "Waiting for the server", stale: "Nothing heard of the server",
  closed: "Closed by the server" };

function show(state, text = WORDS[state]) {
  byId("status").dataset.state = document.body.dataset.state = state;
  say(byId("status-text"), text);
}

/** The server was started again: nothing of before is to be compared. */
function restarted() {
  for (const part of [figures, lists, log, past]) part.forget();
}

const ON = {
  code(now) {
    if (started !== null && now.started !== started) restarted();
    started = now.started;
    code = now;
    forms.showCode(now);
  },
  pulse(now) {
    pulsed = Date.now();
    byId("quiet").hidden = true;
    figures.show(now);
    const up = duration(now.time - code.started);
    say(byId("about"), `Sluice ${code.version}, ${code.path}, generation ${now.generation}, up ${up}`);
  },
  round: lists.showRound,
  patterns: lists.showPatterns,
  log: log.show,
  problem: past.showError,
  reload: past.showReload,
};

/** The stream may be alive while the script is not: its thread tells, not the script's. */
function watch() {
  const quiet = Date.now() - pulsed, late = connection?.status === "open" && pulsed > 0 && quiet > QUIET;
  byId("quiet").hidden = !late;
  if (late) say(byId("quiet"), `The script has said nothing since ${clock(pulsed / 1000)}: it is busy, or a call of it does not return. Streams go on.`);
}

function open() {
  byId("door").hidden = true;
  connection?.close();
  pulsed = 0;
  connection = connect(here("stream"), {
    eventTypes: ["*"],
    headers: authorization,
    onMessage: (event) => {
      byId("board").hidden = false;
      ON[event.type]?.(event.data);
    },
    onStatus: (status) => show(status),
    onError: ({ status, message }) => {
      if (status === 401) askForKey("The server does not take this key.");
      else if (status >= 400 && status < 500) askForKey(`The server refuses (${status}): it has no admin key, or a proxy is in between.`);
      else if (message === "bye overload") show("waiting", "Too many consoles are open: waiting");
    },
  });
}

byId("door").onsubmit = (event) => {
  event.preventDefault();
  key = byId("door-key").value.trim();
  byId("door-key").value = "";
  if (key !== "") open();
};
addEventListener("hashchange", () => { if (take()) open(); });
setInterval(watch, 1000);
forms.wire(ask);
if (take()) open(); else askForKey("");
