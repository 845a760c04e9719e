// A second server, behind a network that one may break: the same stream, and what it reports when its connection is cut,
// its reader slowed, its memory lost. It is connected to with the first button.
import { connect } from "/sluice.js";
import { ask } from "/look/page.js";
import { bytes, number, parts, say } from "./cards/card.js";
import { reporter } from "./panel.js";
import { Ledger } from "./wire.js";

const SLOW = { bytesPerSecond: 200, seconds: 10 };
const DOES = {
  cut: ["You cut the connection"],
  slow: [`You let through ${SLOW.bytesPerSecond} bytes a second, for ${SLOW.seconds} s`, SLOW],
  epoch: ["You ended the second server; it starts again and remembers nothing"],
};
const WORDS = { connecting: "Connecting", open: "Live", waiting: "Waiting", stale: "Nothing heard", closed: "Not connected" };
const part = parts("lab"), whole = number(0), card = document.getElementById("lab");
const report = reporter(part.reports, 8);
let stream = null, ledger = null, events = 0, before = 0;

function begin(url) {
  ledger = new Ledger(url, report);
  return new Promise((open) => {
    stream = connect(url, {
      eventTypes: ["*"],
      onMessage: () => { events += 1; },
      onStatus: (state) => {
        ledger.status(state);
        card.querySelector(".status-line").dataset.state = state;
        if (state === "open" || state === "closed") open();
      },
    });
    setInterval(() => {
      say(part.line, `${WORDS[stream.status]}: ${whole(events)} events, ${bytes(ledger.bytes)}, ${bytes(ledger.bytes - before)} / s`);
      before = ledger.bytes;
    }, 1000);
  });
}

/** Its first stream has all of its opening: then there is something to break. */
const settled = () => new Promise((done) => {
  const look = () => (ledger.opened > 0 && !ledger.opening ? done() : setTimeout(look, 100));
  look();
});

/** What came while little was let through. */
function tellSlow(bytesBefore, eventsBefore) {
  report(`It is quick again: in those ${SLOW.seconds} s came ${whole(events - eventsBefore)} events, ${bytes(ledger.bytes - bytesBefore)}`, "good");
}

async function act(does, url, buttons) {
  const [text, body] = DOES[does];
  for (const button of buttons) button.disabled = true;
  try {
    if (!stream) await begin(url).then(settled);
    report(text);
    await ask("POST", `/api/lab/${does}`, body);
    if (body) setTimeout(tellSlow, body.seconds * 1000, ledger.bytes, events);
  } catch (problem) {
    report(`Not done: ${problem.message}`, "bad");
  }
  for (const button of buttons) button.disabled = false;
}

export async function start() {
  // 204 in place of 404, which browsers report as an error on every page
  const { url } = await ask("GET", "/api/lab?quiet=1").catch(() => null) ?? {};
  if (!url) return say(part.why, "There is no second server to break here: sluice demo has one, behind a network that one may cut and slow.");
  say(part.why, "A second server sends the same stream through a bad network. Break it, and read what becomes of it; this page's own connection is not touched.");
  part.tools.hidden = false;
  const buttons = [...part.tools.querySelectorAll("button")];
  for (const button of buttons) button.addEventListener("click", () => act(button.dataset.does, url, buttons));
}
