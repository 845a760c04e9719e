/** Who reads a document, where they are, and its lines, of which the last writer wins. */
import { useState } from "react";
import { api, latestOf } from "../api";
import { ActiveUsersList, Card, Editor } from "../leaves";
import { useSse } from "../sse";
import type { CursorPosition, User } from "../types";

function changed<K, V>(map: Map<K, V>, key: K, value?: V): Map<K, V> {
  const next = new Map(map);
  if (value === undefined) next.delete(key);
  else next.set(key, value);
  return next;
}

export function SharedDocument({ documentId }: { documentId: string }) {
  const url = `/api/documents/${encodeURIComponent(documentId)}`;
  const [users, setUsers] = useState<User[]>([]);
  const [cursors, setCursors] = useState(new Map<string, CursorPosition>());
  const [lines, setLines] = useState(new Map<number, string>());
  const [send] = useState(latestOf);

  const { status, error } = useSse(`${url}/collaboration`, {
    eventTypes: ["user-joined", "user-left", "cursor-move", "removed", "line-change"],
    onMessage({ type, data }) {
      if (type === "line-change") return setLines((all) => changed(all, data.line, data.text));
      if (type === "cursor-move") return setCursors((all) => changed(all, data.userId, data.position));
      if (type === "removed") return setCursors((all) => changed(all, data.key));
      setUsers((list) => list.filter(({ userId }) => userId !== data.userId));
      if (type === "user-joined") return setUsers((list) => [...list, data]);
      setCursors((all) => changed(all, data.userId));
    },
    onReset({ channel }) {
      if (channel === null || /^doc\/[^/]+$/.test(channel)) setUsers([]);
      if (channel === null || channel.startsWith("text/")) setLines(new Map());
    },
  });

  const put = (path: string, method: string, body: object) => send(path, () => api(method, url + path, body));
  return (
    <Card title="Document" status={status} error={error} wide>
      <ActiveUsersList users={users} />
      <Editor
        cursors={cursors} lines={lines}
        onCursor={({ line, column }) => put(`/lines/${line}/cursor`, "POST", { column })}
        onLine={(line, text) => put(`/lines/${line}`, "PUT", { text })}
      />
    </Card>
  );
}
