// The protocol's own tests, for vitest: SLUICE_URL is the server's.
import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.SLUICE_URL, longPollTimeoutMs: 4000 });
