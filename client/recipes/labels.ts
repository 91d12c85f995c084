import { type Job, jobDate, type KnownStatus } from "jobs-api-client";

const LABELS: Partial<Record<KnownStatus, string>> = {
  uploading: "Wird hochgeladen",
  queued: "Wartet",
  processing: "In Arbeit",
  success: "Fertig",
  success_credits_restored: "Teilweise fertig",
  success_credits_not_restored: "Teilweise fertig",
  failed_requeued: "Wird wiederholt",
  failed: "Fehlgeschlagen",
  failed_critical: "Fehlgeschlagen",
};

export function label({ status, progress }: Job) {
  if (progress !== null) return `In Arbeit, ${progress} %`;
  return LABELS[status as KnownStatus] ?? "Unbekannt";
}

export function day({ date }: Job) {
  return jobDate(date)?.toLocaleDateString("de") ?? "";
}
