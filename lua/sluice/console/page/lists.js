/** Who is there and who is sent most: streams by route, channels by pattern, top clients and channels. */
import { asker, bar, brief, byId, count, place, rate, say, size, table, who } from "./dom.js";

const streams = table(byId("streams"), [
  { name: "Route", cell: (row) => row.route },
  { name: "Declared", cell: (row) => (row.where ? place(row.where) : "removed by a reload"), wide: true },
  { name: "Open", cell: (row) => count(row.open), num: true },
], (row) => row.route, "The app has no stream.");

const patterns = table(byId("patterns"), [
  { name: "Pattern", cell: (row) => row.pattern },
  { name: "Channels", cell: (row) => count(row.channels), num: true, wide: true },
  { name: "Readers", cell: (row) => count(row.subscribers), num: true },
  { name: "In /s", cell: (row) => rate(row.in), num: true },
  { name: "Out /s", cell: (row) => rate(row.out), num: true },
  { name: "Lost", cell: (row) => count(row.resets + row.dropped), num: true, wide: true },
], (row) => row.pattern, "No channel has been used yet.");

const perMinute = (row) => [`${size(row.minute)}`, bar(row.part)];

const clients = table(byId("clients"), [
  { name: "Client", cell: (row) => asker("client", row.client), keep: true },
  { name: "Stream", cell: (row) => brief(row.path ?? ""), wide: true },
  { name: "From", cell: who },
  { name: "A minute", cell: perMinute, num: true },
], (row) => row.client, "Nobody was sent anything.");

const channels = table(byId("channels"), [
  { name: "Channel", cell: (row) => asker("channel", row.name) },
  { name: "A minute", cell: perMinute, num: true },
], (row) => row.name, "Nothing was sent.");

const sum = (list, of) => list.reduce((n, row) => n + of(row), 0);

/** A list with what each of it was sent in a minute, and which part of the most that is. */
function measured(list, seconds) {
  const most = list[0]?.bytes || 1;
  return list.map((row) => ({ ...row, minute: (row.bytes * 60) / seconds, part: row.bytes / most }));
}

/** Show what a round has found. */
export function showRound(round) {
  streams(round.streams);
  const more = round.streams_all - round.streams.length;
  say(byId("streams-foot"), `${count(sum(round.streams, (row) => row.open))} open${more > 0 ? `, ${count(more)} routes more` : ""}`);
  const known = round.seconds > 0;
  for (const span of document.querySelectorAll("[data-is=span]")) {
    say(span, known ? `of the last ${Math.round(round.seconds)} s${round.left_out ? ", not of all" : ""}` : "measuring");
  }
  if (!known) return;
  clients(measured(round.clients, round.seconds));
  channels(measured(round.channels, round.seconds));
}

let before = null;

/** Show what was counted by pattern: rates are those between two counts. */
export function showPatterns(now) {
  const old = new Map(before?.list.map((row) => [row.pattern, row])), seconds = before ? now.at - before.at : 0;
  const of = (row, name) => (seconds > 0 ? Math.max(0, row[name] - (old.get(row.pattern)?.[name] ?? 0)) / seconds : 0);
  const list = now.list.map((row) => ({ ...row, in: of(row, "published"), out: of(row, "delivered") }));
  before = now;
  patterns(list.filter((row) => row.published + row.delivered + row.channels + row.subscribers > 0));
  say(byId("patterns-foot"), `${count(now.all - 1)} declared`);
}

/** Another server, or the same one again. */
export function forget() { before = null; }
