// The jobs of whoever is signed in: their bars while they run, and how the last ones ended.
import { fill } from "/look/charts.js";
import { arrange, ask, make } from "/look/page.js";
import { known, number, parts, say, words } from "./card.js";

const SHOWN = 3, KEPT = 100, ITEMS = 40;
const ENDS = { success: "done", failed: "failed", cancelled: "cancelled" };
const part = parts("progress"), whole = number(0);
const jobs = new Map(); // jobId -> the newest of it, the one that changed last at the end

function row(id) {
  return make("li", [make("p", [make("span", "", { class: "line" }), make("b", "", { class: "num" })], { class: "row" }),
    make("div", make("span"), { class: "bar", role: "progressbar", "aria-label": `Job ${id}`, "aria-valuemin": 0, "aria-valuemax": 100 })],
  { "data-job": id });
}

function draw(li, job) {
  const percent = known(job.percentage) ? Math.min(100, Math.max(0, job.percentage)) : 0;
  const end = ENDS[job.status], [name, figure] = li.querySelector("p").children, bar = li.querySelector(".bar");
  const item = words(job.currentItem, 40), kind = words(job.kind, 24) || "job";
  say(name, end ? `${kind}: ${end}${known(job.processed) ? `, ${whole(job.processed)} items` : ""}` : [kind, item || (job.status === "queued" ? "waits" : "")].filter(Boolean).join(": "));
  say(figure, end ? (job.status === "success" ? "✓" : "✗") : `${whole(percent)} %`);
  bar.setAttribute("aria-valuenow", String(Math.round(percent)));
  li.dataset.end = end ?? "";
  bar.hidden = Boolean(end);
  fill(bar, job.status === "success" ? 100 : percent);
}

/** What runs first, then what ended, the last one first. */
function show() {
  const there = new Map([...part.list.children].map((li) => [li.dataset.job, li]));
  const all = [...jobs].reverse().sort(([, a], [, b]) => Boolean(ENDS[a.status]) - Boolean(ENDS[b.status]));
  const lines = all.slice(0, SHOWN).map(([id, job]) => {
    const li = there.get(id) ?? row(id);
    draw(li, job);
    return li;
  });
  arrange(part.list, lines);
}

function change(data) {
  const id = words(data.jobId, 128);
  if (!id) return;
  const job = { ...jobs.get(id), ...data };
  if (!jobs.has(id) || ENDS[data.status]) jobs.delete(id); // to the end
  jobs.set(id, job);
  if (jobs.size > KEPT) jobs.delete(jobs.keys().next().value);
  show();
}

const ended = (status) => (data) => change({ ...data, status: ENDS[data.status] ? data.status : status });

part.start.addEventListener("click", async () => {
  part.start.disabled = true;
  try {
    await ask("POST", "/api/process-batch", { items: Array.from({ length: ITEMS }, (_, i) => `page ${i + 1}`) });
    say(part.said, "Started");
  } catch (problem) {
    say(part.said, `Not started: ${problem.message}`);
  }
  part.start.disabled = false;
});

export default {
  id: "progress",
  channels: /^jobs\//,
  on: { progress: change, "job-complete": ended("success"), "job-failed": ended("failed"), "job-cancelled": ended("cancelled") },
  reset() {
    jobs.clear();
    show();
  },
};
