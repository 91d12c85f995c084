// The API gives the whole list, so it is searched, filtered and sorted here.

import { confirmDeletion } from "./deletion.js";
import { copyOf, find, findAll, setState } from "./dom.js";
import * as format from "./format.js";
import { POLL_SECONDS, QUIET, api, attempt, refresh, repeat, signal } from "./service.js";

const ROWS_PER_PAGE = 100;
// The API's order is by date.
const SORT_KEYS = {
  name: format.jobName,
  status: format.badgeText,
  size: (job) => job.total_size,
  credits: (job) => job.credits_spent,
};

const view = find("#list");
const part = (selector) => find(selector, view);
const body = part("tbody");
const [search, filter] = [part("#search"), part("#filter")];

let jobs = [];
// The last one, of the first page if there are several.
let response;
let pollSeconds = POLL_SECONDS;
// The user's search, state, sort (with a "-" descending) and page.
let choice = new URLSearchParams();
// Where it was left.
let place = {};

export async function showList() {
  choice = new URLSearchParams(location.hash.split("?")[1]);
  document.title = "Jobs";
  [search.value, filter.value] = [choice.get("search") ?? "", choice.get("state") ?? ""];
  if (response) {
    render();
    scrollTo(0, place.top);
    const row = find(`[data-job-id="${place.jobId}"] a`, body) ?? part("h1");
    row.focus({ preventScroll: true });
  }
  signal.addEventListener("abort", () => (place.top = scrollY));
  const first = !response;
  if (first) setState(view, "loading");
  await attempt(view, load);
  if (!response) setState(view, "failed");
  if (first) part("h1").focus();
  repeat(poll, secondsUntilNext);
}

async function poll() {
  const start = Date.now();
  const changed = await attempt(view, load, QUIET);
  // Seldom if nothing happens, or if the list is long.
  pollSeconds = changed ? POLL_SECONDS : Math.min(pollSeconds * 1.5, 60);
  pollSeconds = Math.max(pollSeconds, (Date.now() - start) / 100);
}

function secondsUntilNext() {
  return (!jobs.length || jobs.some((job) => format.stateOf(job) === "running")) && pollSeconds;
}

/** Whether anything has changed. */
async function load(options) {
  const first = await api.list({ previous: response, signal, ...options });
  format.setTime(part(".updated time"), new Date());
  if (first === response && !first.next_cursor) return false;
  const loaded = [...first.jobs];
  for (let page = first; page.next_cursor; loaded.push(...page.jobs)) {
    page = await api.list({ cursor: page.next_cursor, signal, ...options });
  }
  [response, jobs] = [first, loaded];
  render();
  return true;
}

export const listAddress = () => (String(choice) ? `#/?${choice}` : "#");

export function forgetJob(jobId) {
  jobs = jobs.filter((job) => job.job_id !== jobId);
  render();
}

function choose(changes) {
  for (const [name, value] of Object.entries({ page: "", ...changes })) {
    if (value) choice.set(name, value);
    else choice.delete(name);
  }
  // Back does not lead through each letter of a search.
  history.replaceState(null, "", listAddress());
  render();
}

function chosenJobs(sort) {
  const [text, state] = [search.value.trim().toLowerCase(), filter.value];
  const chosen = jobs.filter(
    (job) =>
      (!state || format.stateOf(job) === state) &&
      (format.jobName(job).toLowerCase().includes(text) || String(job.job_id) === text),
  );
  const key = SORT_KEYS[sort.replace("-", "")];
  if (!key) return sort === "date" ? chosen.reverse() : chosen;
  const sign = sort.startsWith("-") ? -1 : 1;
  const compare = (one, other) => (one.trim ? format.byName(one, other) : one - other);
  return chosen.sort((one, other) => sign * compare(key(one), key(other)));
}

function render() {
  const sort = choice.get("sort") ?? "-date";
  const chosen = chosenJobs(sort);
  const pageCount = Math.ceil(chosen.length / ROWS_PER_PAGE);
  const page = Math.max(Math.min(Number(choice.get("page")) || 1, pageCount), 1);
  const start = (page - 1) * ROWS_PER_PAGE;
  const shown = chosen.slice(start, start + ROWS_PER_PAGE);
  const rows = new Map(findAll("tr", body).map((row) => [row.dataset.jobId, row]));
  const focused = document.activeElement;
  body.replaceChildren(...shown.map((job) => jobRow(job, rows.get(String(job.job_id)))));
  if (focused.isConnected) focused.focus({ preventScroll: true });

  setState(view, chosen.length ? "shown" : jobs.length ? "no-match" : "none");
  const few = chosen.length < jobs.length ? `${format.formatNumber(chosen.length)} of ` : "";
  part(".count").textContent = few + format.plural(jobs.length, "job");
  for (const heading of findAll("[data-sort]", view)) {
    const [up, down] = [heading.dataset.sort, `-${heading.dataset.sort}`];
    heading.ariaSort = { [up]: "ascending", [down]: "descending" }[sort] ?? null;
    // The third click sorts by date again.
    const next = { [up]: down, [down]: up === "date" ? up : "" }[sort] ?? up;
    find("button", heading).onclick = () => choose({ sort: next });
  }
  part(".pager").hidden = pageCount < 2;
  part(".range").textContent = `Page ${page} of ${pageCount}`;
  part(".before").disabled = page === 1;
  part(".after").disabled = page >= pageCount;
  part(".pager").onclick = ({ target }) => {
    if (target.value) choose({ page: page + Number(target.value) });
    part("h1").focus();
    scrollTo(0, 0);
  };
}

function jobRow(job, old) {
  const row = old ?? copyOf("#row");
  const name = format.jobName(job);
  const link = find("a", row);
  row.dataset.jobId = job.job_id;
  link.href = `#/jobs/${job.job_id}`;
  link.title = find("bdi", row).textContent = name;
  format.fillFacts(row, job);
  // Narrow windows have no column of dates.
  find(".id", row).dataset.date = find("time", row).textContent;
  find(".id", row).textContent = `Job ${job.job_id}`;
  const button = find("button", row);
  button.ariaLabel = button.title = `Delete ${name}`;
  button.onclick = () =>
    confirmDeletion(job.job_id, name, "its files", () => {
      const next = row.nextElementSibling ?? row.previousElementSibling;
      forgetJob(job.job_id);
      (next ? find("a", next) : part("h1")).focus();
    });
  return row;
}

part(".refresh").onclick = () => refresh(view, load);
search.oninput = () => choose({ search: search.value });
filter.onchange = () => choose({ state: filter.value });
body.onclick = ({ target }) => (place.jobId = target.closest("tr").dataset.jobId);
