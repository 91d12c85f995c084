// Values as people read them. What is stored may be missing, or of another kind.

import { jobDate } from "./api.js";
import { find, findAll } from "./dom.js";

const STATES = { good: "Completed", mixed: "Partly failed", bad: "Failed", other: "Unknown" };
const RUNNING = { uploading: "Uploading", queued: "Queued", failed_requeued: "Requeued" };
const SECONDS = { year: 31536000, month: 2592000, day: 86400, hour: 3600, minute: 60, second: 1 };
const SIZES = ["B", "kB", "MB", "GB", "TB"];
// They turn what follows, a file's extension for example.
const BIDI_CONTROLS = /[\u202a-\u202e\u2066-\u2069]/g;
const VISIBLE = /[^\s\p{C}]/u;
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export const byName = new Intl.Collator(undefined, { numeric: true }).compare;

/** A name as text; the fallback if nothing of it can be seen. */
export function shownName(name, fallback) {
  const text = String(name ?? "").replace(BIDI_CONTROLS, "");
  return VISIBLE.test(text) ? text : fallback;
}

export const jobName = (job) => shownName(job.job_name, "Without a name");

export function stateOf({ status }) {
  if (status === "success") return "good";
  if (Object.hasOwn(RUNNING, status)) return "running";
  const [kind] = /^(success_|processing|failed)/.exec(status) ?? [];
  return { success_: "mixed", processing: "running", failed: "bad" }[kind] ?? "other";
}

export function badgeText(job) {
  const processing = job.progress === null ? "Processing" : `${job.progress}% done`;
  return STATES[stateOf(job)] ?? RUNNING[job.status] ?? processing;
}

export function formatNumber(number) {
  return Number.isFinite(number) ? number.toLocaleString() : "–";
}

function formatSize(bytes) {
  if (!(bytes >= 0)) return "–";
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), SIZES.length - 1);
  const number = (bytes / 1000 ** power).toLocaleString(undefined, { maximumFractionDigits: 1 });
  return `${number} ${SIZES[power]}`;
}

export const plural = (count, noun) => `${formatNumber(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Show how long ago it was, and the exact time on hover. */
export function setTime(element, date) {
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const seconds = (date - Date.now()) / 1000;
  const units = Object.entries(SECONDS);
  const [unit, length] = units.find(([, each]) => Math.abs(seconds) >= each) ?? units.at(-1);
  element.textContent = relative.format(Math.trunc(seconds / length), unit);
}

export function updateTimes() {
  for (const element of findAll("time[datetime]")) setTime(element, new Date(element.dateTime));
}

/** What a row of the list and a job have in common. */
export function fillFacts(within, job) {
  const badge = find(".badge", within);
  badge.textContent = badgeText(job);
  badge.dataset.state = stateOf(job);
  badge.title = job.status_meaning;
  const [date, time] = [jobDate(job.date), find("time", within)];
  if (date) setTime(time, date);
  else time.textContent = "–";
  find(".size", within).textContent = formatSize(job.total_size);
  find(".credits", within).textContent = formatNumber(job.credits_spent);
}
