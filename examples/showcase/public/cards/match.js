// A match: the score, and what happened last.
import { addRow, make } from "/look/page.js";
import { known, parts, say, words } from "./card.js";

const SHOWN = 3;
const part = parts("match");

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function clear() {
  part.list.replaceChildren();
  say(part.home, "–");
  say(part.away, "–");
  say(part.words, "");
}

export default {
  id: "match",
  channels: /^match\/|^news/,
  on: {
    "match-event": (data) => {
      if (known(data.score?.home)) say(part.home, String(data.score.home));
      if (known(data.score?.away)) say(part.away, String(data.score.away));
      const type = sentence(words(data.type, 30));
      addRow(part.list, make("li", [make("time", known(data.minute) ? `${data.minute}′` : "", { class: "num" }), make("b", type),
        make("span", [words(data.player, 30), words(data.team, 20)].filter(Boolean).join(", "), { class: "line soft" })],
      { class: type === "Goal" ? "goal" : undefined }), SHOWN);
    },
    commentary: (data) => say(part.words, words(data.text)),
  },
  reset: clear,
};
