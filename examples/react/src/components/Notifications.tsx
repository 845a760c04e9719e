/** What is unread, on all of a user's pages, until it is read on one of them. */
import { useState } from "react";
import { Card, NotificationItem } from "../leaves";
import { useSse } from "../sse";
import type { SseEvent } from "../sse";
import { toast } from "../toast";
import type { Notification } from "../types";

const NEW = 10_000; // milliseconds: what is older was there before the page

export function Notifications() {
  const [unread, setUnread] = useState<SseEvent<Notification>[]>([]);
  const without = (id: string) => setUnread((list) => list.filter(({ data }) => data.id !== id));

  const { status, error } = useSse<Notification>("/api/notifications", {
    eventTypes: ["notification", "notification-ack", "notification-dropped"],
    onMessage(event) {
      without(event.data.id);
      if (event.type !== "notification") return;
      setUnread((list) => [event, ...list]);
      if (Date.now() - Date.parse(event.data.timestamp) < NEW) toast.info(event.data.message);
    },
    onReset: ({ channel }) => (channel === null || channel.startsWith("user/")) && setUnread([]),
  });

  const read = (event: SseEvent<Notification>) => event.ack().catch(({ message }) => toast.error(message));
  return (
    <Card title="Notifications" status={status} error={error}>
      <div className="unread" tabIndex={0} role="region" aria-label="Unread">
        {unread.length === 0 && <p className="none">Nothing unread.</p>}
        {unread.map((event) => (
          <NotificationItem key={event.data.id} notification={event.data} onRead={() => read(event)} />
        ))}
      </div>
    </Card>
  );
}
