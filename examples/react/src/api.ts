/** Requests of the pages: JSON there and back; an answer that is no success is an error with the server's words. */
export async function api<T = unknown>(method: string, url: string, body?: object): Promise<T> {
  const headers = body && { "Content-Type": "application/json" };
  const response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error?.message ?? `HTTP ${response.status}`);
  return answer;
}

/** send(name, fn): one request of a name at a time, and behind it only the newest. What fails is let go. */
export function latestOf() {
  const waiting = new Map<string, (() => Promise<unknown>) | null>();
  return async function send(name: string, fn: () => Promise<unknown>) {
    if (waiting.has(name)) return void waiting.set(name, fn);
    for (let next: (() => Promise<unknown>) | null = fn; next; next = waiting.get(name) ?? null) {
      waiting.set(name, null);
      await next().catch(() => null);
    }
    waiting.delete(name);
  };
}
