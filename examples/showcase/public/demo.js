// The switch of the demo: events of the app's own types in turn, by the server. Its state is asked for again and again:
// an answer counts when it was asked for after the last change, so that a late one does not set the switch back.
import { ask } from "/look/page.js";
import { setting } from "/look/setting.js";
import { number, parts, say } from "./cards/card.js";

const EVERY_MS = 5000;
const part = parts("demo"), whole = number(0);
let asked = 0;

function show({ running, intervalSeconds, sent }) {
  part.switch.setAttribute("aria-checked", String(running === true));
  if (document.activeElement !== part.interval) part.interval.value = intervalSeconds;
  say(part.said, running ? `On, ${whole(sent)} sent` : sent > 0 ? `Off, ${whole(sent)} were sent` : "Off");
}

const demo = setting({
  async save({ running, intervalSeconds }) {
    const value = await (running ? ask("POST", "/api/demo/start", { intervalSeconds }) : ask("POST", "/api/demo/stop"));
    return { version: (asked += 1), value };
  },
  show,
  tell(how, value, problem) { if (problem) say(part.said, problem.message); },
});

async function look() {
  const version = (asked += 1);
  try {
    demo.heard(version, await ask("GET", "/api/demo/status"));
  } catch (problem) {
    if (problem.status !== 404) return say(part.said, problem.message);
    part.tools.hidden = true;
    part.why.hidden = false;
    say(part.why, "Demo mode is off: start the server with --demo, and events of all types can come by themselves.");
  }
}

function want(running) {
  const intervalSeconds = running ? part.interval.valueAsNumber : demo.value.intervalSeconds;
  if (running && !(intervalSeconds >= 0.1 && intervalSeconds <= 3600)) return say(part.said, "A number of seconds from 0.1 to 3600 is expected");
  demo.want({ ...demo.value, running, intervalSeconds });
}

export function start() {
  part.switch.addEventListener("click", () => { if (demo.value) want(!demo.value.running); });
  part.interval.addEventListener("change", () => { if (demo.value?.running) want(true); });
  look();
  setInterval(() => { if (demo.value?.running && !document.hidden) look(); }, EVERY_MS);
}
