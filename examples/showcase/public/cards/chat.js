// The last question, and its answer as it is made. An answer is a run: it goes on without the page that asked.
import { ask, make } from "/look/page.js";
import { parts, say, soon, words } from "./card.js";

const MOST = 1000;
const part = parts("chat");
let run = "", question = "", answer = "", state = "";

const show = soon(() => {
  if (part.talk.children.length === 0 && (question || answer)) {
    part.talk.append(make("p", "", { class: "question" }), make("p", "", { class: "answer" }));
  }
  if (part.talk.children.length === 0) return;
  say(part.talk.firstChild, question);
  say(part.talk.lastChild, answer || (state === "failed" ? "No answer came" : "…"));
  part.talk.dataset.state = state;
});

/** Several answers may be on their way: the one to the last question is shown. */
const ofRun = (change) => (data) => {
  if (words(data.runId, 64) !== run) return;
  change(data);
  show();
};
const end = (how) => ofRun(() => { state = how; });

part.form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = part.form.question.value.trim();
  if (!text) return;
  try {
    await ask("POST", "/api/chat", { id: crypto.randomUUID?.() ?? String(Math.random()).slice(2), messages: [{ role: "user", content: text }] });
    part.form.question.value = "";
  } catch (problem) {
    question = text;
    answer = `Not sent: ${problem.message}`;
    show();
  }
});

export default {
  id: "chat",
  channels: /^(run|chat|answer)/,
  on: {
    question: (data) => {
      [run, question, answer, state] = [words(data.runId, 64), words(data.content, MOST), "", "running"];
      show();
    },
    text: ofRun((data) => { answer = (answer + words(data.text, MOST)).slice(-MOST); }),
    "run-complete": end("complete"),
    "run-failed": end("failed"),
    "run-stopped": end("stopped"),
  },
  reset() {
    answer = "";
    show();
  },
};
