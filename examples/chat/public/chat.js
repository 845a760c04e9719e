"use strict";
// An answer is a run on the server. This page keeps nothing: it asks which runs there are and watches
// them, each by an EventSource that goes on by itself after a break and gets every word once.

const byId = (id) => document.getElementById(id);
const talk = byId("talk");
const shown = new Map(); // id of a run -> { article, question, answer, note, source, text, state }
const tabs = "BroadcastChannel" in window ? new BroadcastChannel("sluice-chat") : null;

function setStatus(state, text) {
  if (byId("status").textContent === text) return;
  byId("status").dataset.state = state;
  byId("status").textContent = text;
}

const running = () => [...shown.values()].filter((run) => run.state === "running");

function update() {
  byId("none").hidden = shown.size > 0;
  byId("stop").hidden = running().length === 0;
  byId("send").hidden = running().length > 0;
  const lost = running().some((run) => run.source.readyState === EventSource.CONNECTING && run.broken);
  if (lost) setStatus("waiting", "Connecting again");
  else setStatus("open", running().length > 0 ? "Answering" : "Ready");
}

// Follow the words, unless the reader has scrolled up.
function grow(change) {
  const atEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;
  change();
  if (atEnd) talk.scrollTop = talk.scrollHeight;
}

function part(article, kind) {
  const element = document.createElement("div");
  element.className = kind;
  article.append(element);
  return element;
}

function end(run, state, note) {
  run.state = state;
  grow(() => {
    run.article.dataset.state = state;
    run.note.textContent = note;
  });
  run.source.close();
  update();
}

function watch(id) {
  if (shown.has(id)) return;
  const article = document.createElement("article");
  const run = { article, question: part(article, "question"), answer: part(article, "answer"),
    note: part(article, "note"), text: "", state: "running", broken: false };
  article.dataset.state = "running";
  shown.set(id, run);
  grow(() => talk.append(article));
  run.source = new EventSource(`/api/answers/${encodeURIComponent(id)}`);
  const on = (name, fn) => run.source.addEventListener(name, (event) => fn(JSON.parse(event.data)));
  on("question", (data) => grow(() => { run.question.textContent = data.content; }));
  on("text", (data) => grow(() => {
    run.text += data.text;
    run.note.textContent = "";
    run.answer.textContent = run.text;
  }));
  on("run-waiting", (data) => { run.note.textContent = `${data.error}; again in ${data.seconds} s`; });
  on("run-complete", () => end(run, "complete", ""));
  on("run-stopped", () => end(run, "stopped", "Stopped"));
  on("run-failed", (data) => end(run, "failed", `This answer is not complete: ${data.error}`));
  run.source.onopen = () => { run.broken = false; update(); };
  run.source.onerror = () => {
    run.broken = true;
    if (run.source.readyState === EventSource.CLOSED) end(run, "failed", "This answer is no longer there");
    else update();
  };
  update();
}

async function call(method, path, body) {
  const answer = await fetch(path, { method, headers: { "Content-Type": "application/json" },
    body: body && JSON.stringify(body) });
  const data = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(data.error.message);
  return data;
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

(async () => {
  try {
    await call("POST", "/api/visitor");
    const { runs } = await call("GET", "/api/chat");
    for (const run of runs.reverse()) watch(run.id);
    update();
  } catch (problem) {
    setStatus("waiting", `The server does not answer: ${problem.message}`);
  }
})();
