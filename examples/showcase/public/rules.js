// The rule that one changes while everybody watches: its text as it is now, and what reloads said. Code is shown in a
// dialog, at a line.
import { byId, clock, make } from "/look/page.js";
import { known, number, parts, say, words } from "./cards/card.js";

const RULES = "examples/showcase/rules.lua";
const LINKS = ["dashboard", "notifications", "progress", "match", "stocks", "devices", "editor", "monitoring", "chat"];
const part = parts("rules"), whole = number(0);
let before = null; // the lines as they were
let reads = 0;

/** Where it is in the checkout, of whatever the server calls it. */
const placed = (file) => {
  const [, folder = "showcase", name] = /(?:([\w-]+)\/)?([\w-]+\.lua)$/.exec(file) ?? [];
  return name ? `examples/${folder}/${name}` : file;
};

async function read(file) {
  const answer = await fetch(`/api/code?file=${encodeURIComponent(file)}`).catch(() => null);
  return answer?.ok ? answer.text() : null;
}

/** Lines with their numbers; those of `marked` stand out. */
function lines(text, marked = () => false) {
  return make("ol", text.replace(/\n$/, "").split("\n").map((line, i) => make("li", make("code", line || " "), { class: marked(line, i) ? "marked" : undefined })));
}

export async function showCode(given, line) {
  const file = placed(given), text = await read(file);
  const dialog = byId("viewer") ?? document.body.appendChild(make("dialog", [
    make("form", [make("h2", "", { id: "viewer-title" }), make("button", "Close", { autofocus: "" })], { method: "dialog", class: "row spread" }),
    make("div", "", { class: "code", tabindex: 0, role: "region", "aria-labelledby": "viewer-title" })], { id: "viewer", "aria-labelledby": "viewer-title" }));
  say(byId("viewer-title"), file);
  const box = dialog.querySelector(".code");
  box.replaceChildren(text === null ? make("p", "This file is not shown here", { class: "soft" }) : lines(text, (_, i) => i + 1 === line));
  dialog.showModal();
  box.querySelector(".marked")?.scrollIntoView({ block: "center" });
}

/** What has changed since the last time stands out. */
async function showRules() {
  const turn = (reads += 1), text = await read(RULES);
  if (turn !== reads) return; // a reload came meanwhile
  part.code.hidden = text === null;
  if (text === null) return;
  const old = before && new Set(before);
  part.code.replaceChildren(lines(text, (line) => old && line.trim() && !old.has(line)));
  const [seen] = part.code.querySelectorAll(".marked"), [limit] = [...part.code.querySelectorAll("li")].filter((li) => / = \d/.test(li.textContent));
  if (seen ?? limit) part.code.scrollTop = (seen ?? limit).offsetTop - part.code.clientHeight / 3;
  before = text.split("\n");
}

const sentence = ({ generation, files, connections: n }) => {
  const saved = (Array.isArray(files) ? files : []).map((it) => words(it, 80)).filter(Boolean).join(", ");
  const kept = !known(n) ? "" : n === 1 ? ", one connection kept" : `, ${whole(n)} connections kept`;
  return `reload #${whole(generation)}${saved && `: ${saved}`}${kept}`;
};

export function onReload(data) {
  const at = clock(Date.parse(data.timestamp) || undefined, true), failed = data.ok === false;
  const why = words(data.message, 400).replace(/^\S*\/(?=[^/\s]+\.lua:)/, "");
  part.said.dataset.tone = failed ? "bad" : "good";
  say(part.said, failed ? `${at} not loaded: ${why}. The rules before go on, and no page has noticed.` : `${at} ${sentence(data)}`);
  part.badge.hidden = !known(data.generation);
  say(part.badge, `generation ${whole(data.generation)} serves`);
  part.said.classList.remove("fresh");
  requestAnimationFrame(() => part.said.classList.add("fresh"));
  return showRules();
}

function link(file, label) {
  const button = make("button", label, { type: "button", class: "plain" });
  button.addEventListener("click", () => showCode(file));
  return button;
}

export async function start() {
  await showRules();
  if (before === null) return; // code is not shown here
  part.links.append(make("span", "The code:", { class: "soft" }), ...LINKS.map((name) => link(`examples/${name}/app.lua`, name)), link("examples/showcase/app.lua", "this page"));
}
