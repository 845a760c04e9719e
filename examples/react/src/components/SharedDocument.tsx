/** Who reads a document, where they are, and its lines, of which the last writer wins. */
import { useState } from "react";
import { setting } from "../../../look/setting.js";
import type { Setting } from "../../../look/setting.js";
import { api, latestOf } from "../api";
import { ActiveUsersList, Card, Editor } from "../leaves";
import { useSse } from "../sse";
import { toast } from "../toast";
import type { CursorPosition, User } from "../types";

function changed<K, V>(map: Map<K, V>, key: K, value?: V): Map<K, V> {
  const next = new Map(map);
  if (value === undefined) next.delete(key);
  else next.set(key, value);
  return next;
}

/** The number in an id: the server counts all that it publishes. */
const numberOf = (id: string) => Number(id.slice(id.lastIndexOf("-") + 1)) || 0;

export function SharedDocument({ documentId }: { documentId: string }) {
  const url = `/api/documents/${encodeURIComponent(documentId)}`;
  const [users, setUsers] = useState<User[]>([]);
  const [cursors, setCursors] = useState(new Map<string, CursorPosition>());
  const [lines, setLines] = useState(new Map<number, string>());
  const [send] = useState(latestOf);
  const [settings] = useState(() => new Map<number, Setting<string>>());

  // What is typed here is shown until the server has it: an echo of the letters before does not take it back.
  function settingOf(line: number) {
    const there = settings.get(line);
    if (there) return there;
    const made = setting<string>({
      async save(text) {
        const { id } = await api<{ id: string }>("PUT", `${url}/lines/${line}`, { text });
        return { version: numberOf(id), value: text };
      },
      show: (text) => setLines((all) => changed(all, line, text ?? "")),
      tell: (_, __, problem) => problem && toast.error(`Line ${line} is not saved: ${problem.message}`),
    });
    settings.set(line, made);
    return made;
  }

  const { status, error } = useSse(`${url}/collaboration`, {
    eventTypes: ["user-joined", "user-left", "cursor-move", "removed", "line-change"],
    onMessage({ type, data, id }) {
      if (type === "line-change") return settingOf(data.line).heard(numberOf(id), data.text);
      if (type === "cursor-move") return setCursors((all) => changed(all, data.userId, data.position));
      if (type === "removed") return setCursors((all) => changed(all, data.key));
      setUsers((list) => list.filter(({ userId }) => userId !== data.userId));
      if (type === "user-joined") return setUsers((list) => [...list, data]);
      setCursors((all) => changed(all, data.userId));
    },
    onReset({ channel }) {
      if (channel === null || /^doc\/[^/]+$/.test(channel)) setUsers([]);
      if (channel !== null && !channel.startsWith("text/")) return;
      for (const line of settings.values()) line.reset();
      setLines(new Map());
    },
  });

  return (
    <Card title="Document" status={status} error={error} wide>
      <ActiveUsersList users={users} />
      <Editor
        cursors={cursors} lines={lines}
        onCursor={({ line, column }) => send("cursor", () => api("POST", `${url}/lines/${line}/cursor`, { column }))}
        onLine={(line, text) => settingOf(line).want(text)}
      />
    </Card>
  );
}
