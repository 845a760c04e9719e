// An answer is a run on the server. This page keeps nothing: it asks which runs there are and watches
// them, each by a stream that goes on by itself after a break and gets every word once.
import { connect } from "/sluice.js";
import { ask as call, byId, head, make, setStatus } from "/look/page.js";

const talk = byId("talk");
const shown = new Map(); // id of a run -> { article, question, answer, note, source, text, state }
const tabs = "BroadcastChannel" in window ? new BroadcastChannel("sluice-chat") : null;

const running = () => [...shown.values()].filter((run) => run.state === "running");

function update() {
  byId("none").hidden = shown.size > 0;
  byId("stop").hidden = running().length === 0;
  byId("send").hidden = running().length > 0;
  const lost = running().some((run) => ["waiting", "stale"].includes(run.stream.status));
  if (lost) setStatus("waiting", "Connecting again");
  else setStatus("open", running().length > 0 ? "Answering" : "Ready");
}

// Follow the words, unless the reader has scrolled up.
function grow(change) {
  const atEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;
  change();
  if (atEnd) talk.scrollTop = talk.scrollHeight;
}

function end(run, state, note) {
  run.state = state;
  grow(() => {
    run.article.dataset.state = state;
    run.note.textContent = note;
  });
  run.stream?.close();
  update();
}

// What events do to the run that is shown.
const HEARD = {
  question: (run, data) => grow(() => { run.question.textContent = data.content; }),
  text: (run, data) => grow(() => {
    run.text += data.text;
    run.note.textContent = "";
    run.answer.textContent = run.text;
  }),
  "run-waiting": (run, data) => { run.note.textContent = `${data.error}; again in ${data.seconds} s`; },
  "run-complete": (run) => end(run, "complete", ""),
  "run-stopped": (run) => end(run, "stopped", "Stopped"),
  "run-failed": (run, data) => end(run, "failed", `This answer is not complete: ${data.error}`),
};

function watch(id) {
  if (shown.has(id)) return;
  const [question, answer, note] = ["question", "answer", "note"].map((kind) => make("div", "", { class: kind }));
  const article = make("article", [question, answer, note], { "data-state": "running" });
  const run = { article, question, answer, note, stream: null, text: "", state: "running" };
  shown.set(id, run);
  grow(() => talk.append(article));
  run.stream = connect(`/api/answers/${encodeURIComponent(id)}`, {
    eventTypes: Object.keys(HEARD),
    onMessage: (event) => HEARD[event.type](run, event.data),
    onStatus: (status) => {
      if (status === "closed" && run.state === "running") end(run, "failed", "This answer is no longer there");
      update();
    },
    onReset: () => { run.text = ""; },
  });
  update();
}

// What was said so far, as a model wants it.
function history() {
  const messages = [];
  for (const run of shown.values()) {
    if (!run.text) continue;
    messages.push({ role: "user", content: run.question.textContent }, { role: "assistant", content: run.text });
  }
  return messages.slice(-20);
}

async function ask(text) {
  byId("send").disabled = true;
  try {
    const id = crypto.randomUUID ? crypto.randomUUID() : String(Date.now()) + Math.random().toString(36).slice(2);
    await call("POST", "/api/chat", { id, messages: [...history(), { role: "user", content: text }] });
    byId("question").value = "";
    watch(id);
    tabs?.postMessage(id);
    talk.scrollTop = talk.scrollHeight;
  } catch (problem) {
    setStatus("waiting", `Not sent: ${problem.message}`);
  } finally {
    byId("send").disabled = false;
    byId("question").focus();
  }
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("question").value.trim();
  if (text && running().length === 0) ask(text);
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("form").requestSubmit();
});
byId("stop").addEventListener("click", () => {
  for (const [id, run] of shown) if (run.state === "running") call("DELETE", `/api/chat/${id}`).catch(() => {});
});
if (tabs) tabs.onmessage = (event) => watch(event.data);

head("chat");
(async () => {
  try {
    await call("POST", "/api/visitor");
    const { runs } = await call("GET", "/api/chat");
    for (const run of runs.reverse()) watch(run.id);
    update();
  } catch (problem) {
    setStatus("waiting", `Not connected: ${problem.message}`);
  }
})();
