// The jobs of one user: how far each is, how fast, how long it still takes, and how it ended. Each tab shows the same,
// also one that comes after the end; when the server is killed, a batch goes on where it was.
import { fill } from "/look/charts.js";
import { arrange, ask, byId, clock, follow, head, make, say } from "/look/page.js";

const RATE_MS = 5000; // what is done within these gives the rate
const ENDS = { success: ["✓", "good", "done"], failed: ["✗", "bad", "failed"], cancelled: ["–", "soft", "cancelled"] };

const jobs = new Map(); // id -> { data, heard: when, seen: [[time, processed]], created, ended, row, line }
const page = { jobs, events: 0 };
window.page = page; // for whoever looks from the console

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const known = (value) => typeof value === "number" && Number.isFinite(value);
const megabytes = (bytes) => `${tenths.format(bytes / 1e6)} MB`;
const titleOf = ({ data }) => data.title || data.kind || data.jobId;
const amount = ({ data }, value) => (data.kind === "upload" ? megabytes(value) : whole.format(value));

function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

// ---- Under way -----------------------------------------------------------------------------------------

function makeRow(job) {
  const cancel = make("button", "Cancel", { type: "button", "aria-label": `Cancel ${titleOf(job)}` });
  const row = make("li", [
    make("div", [make("b", titleOf(job)), make("span", "", { class: "percent num" }), cancel], { class: "row" }),
    make("div", make("span"), { class: "bar", role: "progressbar", "aria-label": titleOf(job), "aria-valuemin": "0", "aria-valuemax": "100" }),
    make("div", [make("span", "", { class: "item-name" }), make("span", "", { class: "left num" }),
      make("span", "", { class: "count num" }), make("span", "", { class: "rate left num" })], { class: "about soft small" }),
  ], { class: "job", "data-job": job.data.jobId });
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    try {
      await ask("DELETE", `/api/jobs/${encodeURIComponent(job.data.jobId)}`);
    } catch (problem) {
      cancel.disabled = false;
      byId("said").textContent = `Not cancelled: ${problem.message}`;
    }
  });
  byId("running").append(row);
  return row;
}

/** Items a second, of the last seconds; null while too little is known. */
function rateOf({ seen }) {
  const [first, last] = [seen[0], seen[seen.length - 1]];
  if (!first || last[0] - first[0] < 400) return null;
  return (1000 * (last[1] - first[1])) / (last[0] - first[0]);
}

function words(job) {
  const { data } = job;
  if (document.body.dataset.state !== "open") return "waiting for the server";
  if (data.status === "queued") return data.processed > 0 ? "goes on soon" : "queued";
  const rate = rateOf(job);
  if (!rate || !known(data.total)) return "";
  return `${span((1000 * (data.total - data.processed)) / rate)} left`;
}

function showRow(job) {
  const { data } = job, row = (job.row ??= makeRow(job)), bar = row.querySelector(".bar");
  const percent = known(data.percentage) ? data.percentage : 0, rate = rateOf(job);
  row.dataset.status = data.status;
  say(row.querySelector(".percent"), data.status === "queued" && percent === 0 ? "queued" : `${percent} %`);
  say(row.querySelector(".item-name"), data.currentItem || " ");
  say(row.querySelector(".left"), words(job));
  say(row.querySelector(".count"), `${amount(job, data.processed)}${known(data.total) ? ` of ${amount(job, data.total)}` : ""}`);
  say(row.querySelector(".rate"), rate ? `${amount(job, rate)}${data.kind === "upload" ? "" : " items"} a second` : " ");
  bar.setAttribute("aria-valuenow", String(percent));
  fill(bar, percent);
}

// ---- Ended ---------------------------------------------------------------------------------------------

function resultOf(job) {
  const { data } = job;
  if (data.status === "failed") return `failed at ${amount(job, data.processed)} of ${amount(job, data.total ?? 0)}: ${data.error ?? "no reason was given"}`;
  if (data.status === "cancelled") return `cancelled at ${amount(job, data.processed)} of ${amount(job, data.total ?? 0)}`;
  return `${amount(job, data.processed)}${data.kind === "upload" ? "" : " items"}`;
}

function makeLine(job) {
  const [sign, tone, word] = ENDS[job.data.status];
  return make("li", [make("span", sign, { class: `mark-of ${tone}`, role: "img", "aria-label": word }),
    make("p", [make("b"), " ", make("span", "", { class: job.data.status === "failed" ? "result bad" : "result soft" })], { class: "grow" }),
    make("span", "", { class: "about soft small num" })],
  { "data-job": job.data.jobId, "data-status": job.data.status });
}

function showLine(job) {
  const line = (job.line ??= makeLine(job));
  const took = job.created && job.ended ? `, took ${span(job.ended - job.created)}` : "";
  say(line.querySelector("b"), titleOf(job));
  say(line.querySelector(".result"), resultOf(job));
  say(line.querySelector(".about"), `${job.ended ? clock(job.ended, true) : ""}${took}`);
}

/** The last one first; of what ended before this page came the times are asked for. */
function sortLines() {
  const list = [...jobs.values()].filter((job) => job.line).sort((a, b) => (b.ended ?? 0) - (a.ended ?? 0));
  arrange(byId("ended"), list.map((job) => job.line));
}

function summarize() {
  const list = [...jobs.values()].filter((job) => job.row), queued = list.filter((job) => job.data.status === "queued").length;
  byId("summary").textContent = list.length === 0 ? "" : `${list.length - queued} running${queued ? `, ${queued} queued` : ""}`;
}

// ---- What the stream says --------------------------------------------------------------------------------

const isOver = (job) => ENDS[job.data.status] !== undefined;

function forget(id) {
  const job = jobs.get(id);
  job?.row?.remove();
  job?.line?.remove();
  jobs.delete(id);
  summarize();
}

function end(job, news) {
  job.row?.remove();
  job.row = null;
  if (news) {
    job.ended = Date.now();
    byId("spoken").textContent = `${titleOf(job)}: ${ENDS[job.data.status][2]}`;
  }
  showLine(job);
  sortLines();
}

function change(data, status) {
  page.events += 1;
  const job = jobs.get(data.jobId) ?? { data: {}, seen: [] };
  const was = isOver(job), isNew = !jobs.has(data.jobId);
  if (was && !status) return; // a last progress beside the end
  job.data = { ...job.data, ...data, status: status ?? data.status };
  job.heard = performance.now();
  jobs.set(data.jobId, job);
  if (isOver(job)) {
    if (was) showLine(job); // its last progress came first: now there is the reason, too
    else end(job, !isNew);
  } else {
    const now = performance.now();
    job.seen.push([now, data.processed]);
    while (now - job.seen[0][0] > RATE_MS) job.seen.shift();
    showRow(job);
  }
  if (isNew && !job.created) soon();
  summarize();
}

// What the events do not say is in the list: when a job began and ended. What it lacks is forgotten, so that no bar
// stands still for ever.
let asked = 0, looks = 0;

async function look() {
  const turn = (looks += 1), before = performance.now();
  const { jobs: list } = await ask("GET", "/api/jobs");
  if (turn !== looks) return; // a newer one is on its way
  const there = new Map(list.map((job) => [job.jobId, job]));
  for (const [id, job] of jobs) {
    const row = there.get(id);
    if (!row) {
      if (before - job.heard > 2000) forget(id); // it may have begun while the list was made
      continue;
    }
    job.created = Date.parse(row.created) || job.created;
    if (row.ended) job.ended = Date.parse(row.ended);
    if (job.line) showLine(job);
  }
  sortLines();
}

function soon() {
  clearTimeout(asked);
  asked = setTimeout(() => look().catch(() => {}), 150); // the next connection asks again
}

function refresh() {
  for (const job of jobs.values()) if (job.row) showRow(job);
}

function onStatus(status) {
  for (const job of jobs.values()) Object.assign(job, { seen: [], heard: -Infinity });
  refresh();
  if (status === "open") soon();
}

// ---- What one starts ---------------------------------------------------------------------------------------

byId("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target), count = Number(form.get("count"));
  const stem = form.get("title").toLowerCase().replace(/s$/, "").replace(/[^\p{L}\p{N}]+/gu, "-");
  const items = Array.from({ length: count }, (_, i) => `${stem}-${String(i + 1).padStart(4, "0")}`);
  if (form.get("broken")) items[Math.floor(count * 0.6)] = "";
  try {
    await ask("POST", "/api/process-batch", { title: form.get("title"), items });
    byId("said").textContent = `Started: ${count} items`;
  } catch (problem) {
    byId("said").textContent = `Not started: ${problem.message}`;
  }
});

byId("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  const name = file.name.replace(/[/\\]/g, "-").slice(0, 80);
  try {
    const answer = await fetch(`/api/files/${encodeURIComponent(name)}`, { method: "PUT", body: file });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    byId("said").textContent = `Uploaded: ${name}`;
  } catch (problem) {
    byId("said").textContent = `Not uploaded: ${problem.message}`;
  }
  target.value = "";
});

head("progress");
document.body.dataset.state = "connecting";
follow("/api/job-progress", {
  progress: (data) => change(data),
  "job-complete": (data) => change(data, "success"),
  "job-failed": (data) => change(data, "failed"),
  "job-cancelled": (data) => change(data, "cancelled"),
  removed: ({ key }) => forget(key),
}, { onStatus });
