// The switch of the demo: events of the app's own types in turn, by the server.
import { ask } from "/look/page.js";
import { number, parts, say } from "./cards/card.js";

const EVERY_MS = 5000;
const part = parts("demo"), whole = number(0);
let on = false;

function show({ running, intervalSeconds, sent }) {
  on = running === true;
  part.switch.setAttribute("aria-checked", String(on));
  if (document.activeElement !== part.interval) part.interval.value = intervalSeconds;
  say(part.said, on ? `On, ${whole(sent)} sent` : sent > 0 ? `Off, ${whole(sent)} were sent` : "Off");
}

async function call(method, path, body) {
  try {
    show(await ask(method, `/api/demo/${path}`, body));
  } catch (problem) {
    if (problem.status !== 404) return say(part.said, problem.message);
    part.tools.hidden = true;
    part.why.hidden = false;
    say(part.why, "Demo mode is off: start the server with --demo, and events of all types can come by themselves.");
  }
}

function begin() {
  const intervalSeconds = part.interval.valueAsNumber;
  if (intervalSeconds >= 0.1 && intervalSeconds <= 3600) return call("POST", "start", { intervalSeconds });
  say(part.said, "A number of seconds from 0.1 to 3600 is expected");
}

export function start() {
  part.switch.addEventListener("click", () => (on ? call("POST", "stop") : begin()));
  part.interval.addEventListener("change", () => { if (on) begin(); });
  call("GET", "status");
  setInterval(() => { if (on && !document.hidden) call("GET", "status"); }, EVERY_MS);
}
