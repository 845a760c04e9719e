/** What an operator can do here: reload, roll back, publish an event, ask why. */
import { byId, clock, make, place, say, table } from "./dom.js";
import { outcome } from "./past.js";

const OVER = 30000; // milliseconds until an answer is waited for no longer

/** Wire the forms: ask(method, path, body) gives the status and JSON of an answer. */
export function wire(ask) {
  wireReloads(ask);
  wirePublish(ask);
  wireExplain(ask);
}

const time = () => clock(Date.now() / 1000);

/** While it runs the button waits; what went wrong is said. */
async function during(button, place, work) {
  button.disabled = true;
  try {
    await work(AbortSignal.timeout(OVER));
  } catch (error) {
    place.replaceChildren(make("p", error.name === "TimeoutError" ? "The script has not answered yet." : error.message, { class: "bad" }));
  }
  button.disabled = false;
  place.dispatchEvent(new Event("done"));
}

// ---- Reloads ------------------------------------------------------------------------------------------------

function wireReloads(ask) {
  const said = byId("reload-said"), sure = byId("sure");
  const run = (button, query) => during(button, said, async (signal) => {
    const { data } = await ask("POST", `../reload${query}`, undefined, signal);
    const row = data.error ? { ok: false, kind: "reload", message: data.error.message } : data;
    const listed = row.kind !== "dry_run" && !row.waits && !data.error; // the stream brings it
    said.replaceChildren(listed ? "" : make("div", outcome(row), { class: "said" }));
  });
  said.addEventListener("done", () => { byId("rollback").disabled = !code || code.revisions < 2 || !code.can_reload; });
  byId("reload").onclick = (event) => run(event.target, "");
  byId("try").onclick = (event) => run(event.target, "?dry_run=1");
  byId("rollback").onclick = () => {
    say(byId("sure-text"), `Generation ${code.generation} gives way to the code that was served before it. Streams stay open. `
      + "The files on the disk stay as they are, until one of them changes or somebody reloads.");
    sure.showModal();
  };
  sure.onclose = () => { if (sure.returnValue === "yes") run(byId("rollback"), "?rollback=1"); };
}

// ---- What the code is ---------------------------------------------------------------------------------------

let code = null;

const types = table(byId("types-list"), [
  { name: "Name", cell: (row) => [row.name, row.automatic ? make("span", "automatic", { class: "badge" }) : ""] },
  { name: "What it is", cell: (row) => row.description || "", wide: true },
  { name: "Fields", cell: (row) => make("code", row.fields.join(", ")), wide: true },
  { name: "Channel", cell: (row) => row.channel ?? "" },
  { name: "Form", cell: (row) => make("button", "Use", { type: "button", "data-use": row.name, "aria-label": `Use ${row.name}` }) },
], (row) => row.name, "The app declares no event type.");

/** A channel's name, and no pattern of names. */
const isName = (text) => !/(^|\/)[*:]/.test(text);
const options = (list) => list.map((name) => make("option", "", { value: name }));

/** Show what the running code is. */
export function showCode(now) {
  code = now;
  types(now.types);
  byId("channel-names").replaceChildren(...options(now.channels.filter(isName)));
  byId("type-names").replaceChildren(...options(now.types.map((row) => row.name)));
  for (const name of ["try", "reload"]) byId(name).disabled = !now.can_reload;
  byId("rollback").disabled = now.revisions < 2 || !now.can_reload;
  const state = !now.can_reload ? "This app was made in a program and has no file to reload."
    : `Generation ${now.generation} of ${now.path}${now.rolled_back ? ", rolled back: the files on the disk are others" : ""}.`;
  say(byId("reload-state"), state);
}

// ---- Publish ------------------------------------------------------------------------------------------------

/** JSON as what it says, other text as it is; what begins as JSON does is meant to be some. */
function read(text) {
  try { return { data: JSON.parse(text), kind: "as JSON" }; } catch (error) {
    return /^\s*[{[]/.test(text) ? { fault: error.message, kind: "it is no JSON" } : { data: text, kind: "as text: it is no JSON" };
  }
}

function wirePublish(ask) {
  const form = byId("publish"), said = byId("publish-said"), data = byId("publish-data"), kind = byId("publish-kind");
  const judge = () => { say(kind, read(data.value).kind); kind.classList.toggle("warn", read(data.value).kind !== "as JSON"); };
  data.oninput = judge;
  judge();
  form.onsubmit = (event) => {
    event.preventDefault();
    const channel = byId("publish-channel").value.trim(), name = byId("publish-event").value.trim() || undefined;
    during(event.submitter, said, async (signal) => {
      if (read(data.value).fault) throw new Error(`${time()}: not sent: the data begin as JSON does and are none: ${read(data.value).fault}`);
      const { status, data: answer } = await ask("POST", "publish", { channel, event: name, data: read(data.value).data }, signal);
      if (status !== 200) throw new Error(`${time()}: refused: ${answer.error?.message ?? status}`);
      const readers = answer.subscribers === 1 ? "1 reader" : `${answer.subscribers} readers`;
      said.replaceChildren(make("span", `${time()}: published to ${readers}${answer.id ? `, as ` : ""}`), answer.id ? make("code", answer.id) : "");
    });
  };
  byId("types-list").addEventListener("click", (event) => {
    const row = code.types.find((type) => type.name === event.target.dataset.use);
    if (!row) return;
    byId("publish-event").value = row.name;
    if (row.channel && isName(row.channel)) byId("publish-channel").value = row.channel;
    if (row.example !== undefined) data.value = typeof row.example === "string" ? row.example : JSON.stringify(row.example, null, 2);
    judge();
    byId("publish-channel").focus();
    form.scrollIntoView({ block: "nearest" });
  });
}

// ---- Explain ------------------------------------------------------------------------------------------------

const LABELS = { client: "Id, user, address, path or trace", channel: "Its name", reset: "The id it carried or has in “from”" };

function because(one) {
  const rule = one.rule, where = rule && !one.text.includes(rule.where);
  return make("li", [make("span", one.cause, { class: "badge" }), make("div", [make("p", one.text),
    where && rule.option && rule.pattern ? make("p", `${rule.option} = ${rule.value ?? "?"} of ${rule.pattern} (${rule.where})`, { class: "small soft" }) : "",
    one.advice ? make("p", `→ ${one.advice}`, { class: "small advice" }) : ""], { class: "grow" })]);
}

function answerOf(answer) {
  const timeline = answer.timeline.map((row) => make("li", [make("time", clock(row.time)), make("span", row.text, { class: "grow" })]));
  const policy = (answer.policy ?? []).map((row) => make("tr", [make("th", row.option, { scope: "row" }), make("td", String(row.value)),
    make("td", row.where ? [`${row.pattern} (`, place(row.where), ")"] : "by default", { class: "soft" })]));
  return [make("ol", answer.because.map(because), { class: "list" }),
    policy.length > 0 ? make("table", make("tbody", policy)) : "",
    timeline.length > 0 ? make("h3", "What was noted") : "", make("ol", timeline, { class: "list small" }),
    answer.since ? make("p", `What was noted reaches back to ${clock(answer.since)}.`, { class: "small soft" }) : ""];
}

function wireExplain(ask) {
  const form = byId("explain"), kind = byId("explain-kind"), id = byId("explain-id"), said = byId("explain-said");
  const label = () => say(byId("explain-label"), LABELS[kind.value]);
  kind.onchange = label;
  form.onsubmit = (event) => {
    event.preventDefault();
    during(form.querySelector("button"), said, async (signal) => {
      const { data } = await ask("GET", `../explain?${kind.value}=${encodeURIComponent(id.value.trim())}`, undefined, signal);
      if (data.error) throw new Error(data.error.message);
      said.replaceChildren(...answerOf(data).filter(Boolean));
    });
  };
  document.addEventListener("click", (event) => {
    const asked = event.target.closest?.("[data-kind][data-id]");
    if (!asked) return;
    kind.value = asked.dataset.kind;
    id.value = asked.dataset.id;
    label();
    form.requestSubmit();
    form.scrollIntoView({ block: "nearest" });
    id.focus({ preventScroll: true });
  });
}
