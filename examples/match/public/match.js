// One stream for a match and the news. What was there before this page comes first, in order; after a
// break only what was missed. A match that does not exist yet is asked for again.
import { addRow, byId, clock, follow, head, make, setStatus } from "/look/page.js";

const AGAIN_MS = 5000;
const id = new URLSearchParams(location.search).get("match") || "7";
const LISTS = ["events", "commentary", "news"];

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The newest stands first. */
function add(list, when, strong, text, tone) {
  addRow(byId(list), make("li", [make("time", when), make("p", [strong && make("b", strong), strong && text && " ", text])],
    { class: tone }));
}

const SHOWN = {
  "match-event": (e) => {
    byId("home").textContent = e.score.home;
    byId("away").textContent = e.score.away;
    add("events", `${e.minute}′`, `${sentence(e.type)} for ${e.team}`, e.player, e.type === "goal" ? "goal" : undefined);
  },
  commentary: (e) => add("commentary", clock(e.timestamp), "", e.text),
  news: (e) => add("news", clock(e.timestamp), e.title, e.text),
};

/** A part that cannot be resumed is sent again from where it begins. */
function onReset({ channel }) {
  const part = channel?.split("/")[2];
  const lists = channel === null || (channel !== "news" && !LISTS.includes(part)) ? LISTS : [part ?? "news"];
  for (const list of lists) byId(list).replaceChildren();
}

function onError({ status }) {
  if (status !== 404) return;
  setTimeout(() => {
    setStatus("waiting", `There is no match ${id} yet`);
    setTimeout(start, AGAIN_MS);
  });
}

function start() {
  follow(`/api/live-match/${encodeURIComponent(id)}`, SHOWN, { live: `Match ${id}, live`, onReset, onError });
}

head("match");
start();
