// This machine: how busy it is, and how that was.
import { known, line, number, parts, say, series, soon } from "./card.js";

const part = parts("dashboard"), cpu = series(180);
const tenths = number(1), hundredths = number(2), whole = number(0);
let newest = null;

const memory = ({ memory: used, memoryTotal: all }) =>
  known(used) ? `${tenths(used / 1024)}${known(all) ? ` of ${tenths(all / 1024)}` : ""} GB` : "–";

const show = soon(() => {
  if (!newest) return part.chart.replaceChildren();
  say(part.cpu, tenths(newest.cpu));
  say(part.memory, memory(newest));
  say(part.load, hundredths(newest.load));
  const rate = newest.eventsPerSecond;
  say(part.rate, known(rate) ? `${(rate < 100 ? tenths : whole)(rate)} / s` : "–");
  const seen = line(part.chart, cpu, "CPU", " %", { least: 20, most: 100, gap: 30000 });
  if (seen) say(part.peak, `peak ${tenths(seen.high)} %`);
});

export default {
  id: "dashboard",
  channels: /^metrics/,
  on: {
    "metrics-update": (data) => {
      newest = data;
      cpu.add(data.timestamp, data.cpu);
      show();
    },
  },
  reset() {
    cpu.clear();
    newest = null;
  },
};
