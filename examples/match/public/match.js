"use strict";
// One EventSource for a match and the news. What was there before this page comes first, in order;
// after a break the browser comes back by itself, and only what it missed is sent.

const LINES = 100;
const id = new URLSearchParams(location.search).get("match") || "7";
const byId = (name) => document.getElementById(name);

function setStatus(state, text) {
  byId("status").dataset.state = state;
  byId("status").textContent = text;
}

const clock = (time) => new Date(time).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });

// The newest stands first. Text is written as text, never as HTML.
function add(list, when, text, strong) {
  const item = document.createElement("li");
  const time = document.createElement("span");
  time.textContent = when;
  item.append(time);
  if (strong) item.append(Object.assign(document.createElement("b"), { textContent: strong }), " ");
  item.append(text);
  byId(list).querySelector(".none")?.remove();
  byId(list).prepend(item);
  while (byId(list).children.length > LINES) byId(list).lastChild.remove();
}

const SHOWN = {
  "match-event": (e) => {
    byId("home").textContent = e.score.home;
    byId("away").textContent = e.score.away;
    add("events", `${e.minute}′`, e.player, `Goal for ${e.team}`);
  },
  commentary: (e) => add("commentary", clock(e.timestamp), e.text),
  news: (e) => add("news", clock(e.timestamp), e.text, e.title),
};

function connect() {
  const source = new EventSource(`/api/live-match/${encodeURIComponent(id)}`);
  for (const [name, show] of Object.entries(SHOWN)) {
    source.addEventListener(name, (message) => show(JSON.parse(message.data)));
  }
  source.addEventListener("hello", () => setStatus("open", `Match ${id}, live`));
  // a part that cannot be resumed is sent again from where it begins
  source.addEventListener("reset", (message) => {
    const lists = { events: "events", commentary: "commentary" };
    const { channel } = JSON.parse(message.data);
    byId(lists[channel.split("/")[2]] || "news").replaceChildren();
  });
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) {
      setStatus("waiting", "The connection is lost: it comes back by itself");
      return;
    }
    setStatus("waiting", `There is no match ${id} yet`);
    setTimeout(connect, 5000);
  };
}

connect();
