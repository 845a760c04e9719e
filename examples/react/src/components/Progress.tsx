/** One batch of this user's: how far it is, how it ended, and a button for the next. */
import { useEffect, useState } from "react";
import { api } from "../api";
import { Card, CheckIcon, ProgressBar } from "../leaves";
import { useSseTyped } from "../sse";
import { toast } from "../toast";
import type { Job } from "../types";

const goesOn = ({ status }: Job) => ["queued", "running"].includes(status);

export function Progress() {
  const [jobId, setJobId] = useState<string | null>(null);
  const [job, setJob] = useState<Job | null>(null);

  const { status, error } = useSseTyped<Job>("/api/job-progress", {
    eventTypes: ["progress", "job-complete", "job-failed", "job-cancelled"],
    filter: (data) => jobId === null || data.jobId === jobId, // any, until one is started here; but one at a time
    onMessage: (data) => setJob((shown) => (shown && shown.jobId !== data.jobId && goesOn(shown) ? shown : data)),
  });

  useEffect(() => setJob((shown) => (jobId === null || shown?.jobId === jobId ? shown : null)), [jobId]);

  async function start() {
    const items = Array.from({ length: 24 }, (_, i) => `page ${i + 1}`);
    const answer = await api<{ jobId: string }>("POST", "/api/process-batch", { items });
    setJobId(answer.jobId);
  }

  const done = job?.status === "success";
  const running = job !== null && goesOn(job);
  const act = running ? () => api("DELETE", `/api/jobs/${job.jobId}`) : start;
  return (
    <Card title="Progress" status={status} error={error}>
      <p className="job">{job?.currentItem || "No batch yet"} {done && <CheckIcon />}</p>
      <ProgressBar value={job?.percentage ?? 0} max={100} label="Batch" />
      <p className="row spread small">
        <span className="soft num">{job ? `${job.processed} of ${job.total}, ${job.status}` : "–"}</span>
        <button type="button" onClick={() => act().catch(({ message }) => toast.error(message))}>
          {running ? "Cancel" : "Start a batch"}
        </button>
      </p>
    </Card>
  );
}
