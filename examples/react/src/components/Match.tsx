/** A match from its beginning. Another match is another component: give it `key={matchId}`. */
import { useState } from "react";
import { Card, EventsFeed, LiveCommentary, ScoreBoard } from "../leaves";
import { useSse } from "../sse";
import type { MatchEvent } from "../types";

const KEPT = 100;

export function Match({ matchId }: { matchId: string }) {
  const [moments, setMoments] = useState<MatchEvent[]>([]);
  const [said, setSaid] = useState<string[]>([]);

  const { status, error } = useSse(`/api/live-match/${encodeURIComponent(matchId)}`, {
    eventTypes: ["match-event", "commentary"],
    onMessage({ type, data }) {
      if (type === "commentary") setSaid((list) => [data.text, ...list].slice(0, KEPT));
      else setMoments((list) => [data, ...list].slice(0, KEPT));
    },
    onReset({ channel }) {
      if (channel !== null && !channel.startsWith("match/")) return;
      setMoments([]);
      setSaid([]);
    },
  });

  return (
    <Card title="Match" status={status} error={error}>
      <ScoreBoard home={moments[0]?.score.home ?? 0} away={moments[0]?.score.away ?? 0} />
      <EventsFeed events={moments} />
      <LiveCommentary entries={said} />
    </Card>
  );
}
