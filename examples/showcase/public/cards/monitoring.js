// A server: how full it is, which services run, and what is wrong.
import { fill } from "/look/charts.js";
import { clock, make } from "/look/page.js";
import { known, number, parts, say, words } from "./card.js";

const SERVICES = 4, ALERTS = 2;
const part = parts("monitoring"), whole = number(0);
const alerts = new Map(); // id -> alert
let measured = false;

const rows = ["CPU", "Memory", "Disk"].map((name) => {
  const figure = make("b", "–", { class: "num" }), bar = make("div", make("span"), { class: "bar", "aria-hidden": "true" });
  return { li: make("li", [make("span", name), bar, figure]), bar, figure };
});
part.levels.append(...rows.map(({ li }) => li));

function level({ li, bar, figure }, percent) {
  say(figure, known(percent) ? `${whole(percent)} %` : "–");
  li.classList.toggle("high", percent >= 90);
  fill(bar, known(percent) ? percent : 0);
}

function services(list) {
  const shown = list.slice(0, SERVICES).map((it) => [words(it?.name, 40), words(it?.status, 20)]);
  while (part.services.children.length > shown.length) part.services.lastChild.remove();
  shown.forEach(([name, status], i) => {
    const li = part.services.children[i] ?? part.services.appendChild(make("li", [make("span", "", { class: "dot", "aria-hidden": "true" }), make("span", "", { class: "line" }), make("span", "", { class: "soft" })]));
    li.dataset.state = status;
    say(li.children[1], name);
    say(li.children[2], status);
  });
}

function tell() {
  const list = [...alerts.values()].reverse().slice(0, ALERTS);
  const lines = list.map((it) => `${words(it.message) || "Alert"}, since ${clock(Date.parse(it.since ?? it.timestamp) || undefined)}${it.seenBy ? `, seen by ${it.seenBy}` : ""}`);
  const text = lines.length > 0 ? lines : [measured ? "All is well" : "Not measured yet"];
  const same = [...part.alerts.children].map((p) => p.textContent).join("\n") === text.join("\n");
  if (!same) part.alerts.replaceChildren(...text.map((it) => make("p", it, { class: "state", "data-tone": list.length > 0 ? "bad" : measured ? "good" : "soft" })));
}

export default {
  id: "monitoring",
  channels: /^system/,
  on: {
    "system-metrics": (data) => {
      const share = known(data.memoryTotal) && data.memoryTotal > 0 ? (100 * data.memory) / data.memoryTotal : data.memory;
      [data.cpu, share <= 100 ? share : undefined, data.disk].forEach((value, i) => level(rows[i], value));
      services(Array.isArray(data.services) ? data.services : []);
      if (!measured) { measured = true; tell(); }
    },
    "system-alert": (data) => {
      alerts.set(words(data.id, 128) || words(data.message), data);
      if (alerts.size > 100) alerts.delete(alerts.keys().next().value);
      tell();
    },
    "system-alert-ack": (data) => {
      const alert = alerts.get(words(data.id, 128));
      if (alert) alert.seenBy = words(data.user, 40) || "somebody";
      tell();
    },
    "system-alert-cleared": (data) => { if (alerts.delete(words(data.id, 128))) tell(); },
  },
  reset() {
    alerts.clear();
    tell();
  },
};
