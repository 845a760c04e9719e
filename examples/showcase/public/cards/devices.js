// A device: its temperature over time, its levels, and the alert that stands.
import { fill } from "/look/charts.js";
import { clock, make } from "/look/page.js";
import { known, line, number, parts, say, series, soon, words } from "./card.js";

const part = parts("devices"), temperature = series(180), tenths = number(1), whole = number(0);
const alerts = new Map(); // id -> alert
const FIGURES = 3;
let newest = null;

/** The other readings, as figures; the battery is a part of a whole, and has a bar. */
function figures({ sensorData }) {
  const list = Object.entries(Object(sensorData)).filter(([name, value]) => name !== "temperature" && known(value)).slice(0, FIGURES);
  while (part.figures.children.length > list.length) part.figures.lastChild.remove();
  list.forEach(([name, value], i) => {
    const row = part.figures.children[i] ?? part.figures.appendChild(make("div", [make("dt"), make("dd")]));
    say(row.firstChild, words(name, 20));
    say(row.lastChild, tenths(value));
  });
}

const show = soon(() => {
  if (!newest) return part.chart.replaceChildren();
  const degrees = newest.sensorData?.temperature ?? newest.temperature;
  say(part.value, tenths(degrees));
  say(part.unit, `°C ${words(newest.deviceId, 24)}`);
  say(part.state, words(newest.status, 24));
  line(part.chart, temperature, "Temperature", " °C", { low: "auto", gap: 60000 });
  figures(newest);
  part.battery.parentElement.hidden = !known(newest.battery);
  say(part.percent, `${whole(newest.battery)} %`);
  fill(part.battery, known(newest.battery) ? newest.battery : 0);
  part.battery.parentElement.classList.toggle("high", newest.battery < 20);
});

/** A live region beside it says it: when one begins, and when all is well again. */
function tell() {
  const [alert] = [...alerts.values()].reverse();
  document.getElementById("devices").classList.toggle("high", Boolean(alert));
  part.alert.hidden = false;
  part.alert.dataset.tone = alert ? "bad" : "good";
  say(part.alert, alert ? `${words(alert.message) || "Alert"}, since ${clock(Date.parse(alert.since ?? alert.timestamp) || undefined)}` : "All is well");
}

export default {
  id: "devices",
  channels: /^device/,
  on: {
    telemetry: (data) => {
      if (newest && data.deviceId !== newest.deviceId && data.demo) return; // one at a time
      newest = data;
      temperature.add(data.timestamp, data.sensorData?.temperature ?? data.temperature);
      if (part.alert.hidden) tell();
      show();
    },
    alert: (data) => {
      if (data.deviceId === undefined) return; // the hub's
      alerts.set(words(data.id, 128), data);
      tell();
    },
    "alert-cleared": (data) => { if (alerts.delete(words(data.id, 128))) tell(); },
  },
  reset() {
    alerts.clear();
    tell();
  },
};
