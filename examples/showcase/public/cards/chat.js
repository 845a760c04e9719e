// The last question, and its answer as it is made. An answer is a run: it goes on without the page that asked.
import { ask, make } from "/look/page.js";
import { parts, say, soon, words } from "./card.js";

const MOST = 1000;
const part = parts("chat");
let question = "", answer = "", state = "";

const show = soon(() => {
  if (part.talk.children.length === 0 && (question || answer)) {
    part.talk.append(make("p", "", { class: "question" }), make("p", "", { class: "answer" }));
  }
  if (part.talk.children.length === 0) return;
  say(part.talk.firstChild, question);
  say(part.talk.lastChild, answer || (state === "failed" ? "No answer came" : "…"));
  part.talk.dataset.state = state;
});

function end(how) {
  return () => {
    state = how;
    show();
  };
}

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
      [question, answer, state] = [words(data.content, MOST), "", "running"];
      show();
    },
    text: (data) => {
      answer = (answer + words(data.text, MOST)).slice(-MOST);
      show();
    },
    "run-complete": end("complete"),
    "run-failed": end("failed"),
    "run-stopped": end("stopped"),
  },
  reset() {
    answer = "";
    show();
  },
};
