// Shows what the API returns. The requests are in api.js.

import { ApiError, jobsApi } from "./api.js";
import { logIn } from "./cognito.js";

const JOBS_PER_PAGE = 20;
const FILES_PER_PAGE = 24;
const FLASH_MILLISECONDS = 6000;
const IMAGE = /\.(avif|bmp|gif|jpe?g|png|svg|webp)$/i;
const LINK_EXPIRED = "This link is not good any more. Refresh the job for a new one.";

const find = (selector, within = document) => within.querySelector(selector);
const [loginView, listView, jobView] = ["#log-in", "#list", "#job"].map((id) => find(id));
const deletion = find("#deletion");

const config = await (await fetch("config.json")).json();
const api = jobsApi(
  config.api,
  () => sessionStorage.getItem("token"),
  { onWait: (seconds, why) => setStatus(`${why} Trying again in ${seconds}\u00a0s\u00a0…`) },
);

// What is shown: the pages of the list, and one job with the number of its files shown so far.
let pages = [];
let shownJob;
let filesShown = 0;
// Counts the views, so that a late response to an earlier one is not shown in the current one.
let viewCount = 0;
let statusTimer;

// Views

async function show() {
  const view = ++viewCount;
  const jobId = /^#\/jobs\/(\d+)$/.exec(location.hash)?.[1];
  showError("");
  setStatus("");
  if (!sessionStorage.getItem("token")) return showLogin("");
  showView(jobId ? jobView : listView);
  if (jobId) {
    find("#job-content").hidden = true;
    shownJob = undefined;
    await withErrors(() => loadJob(Number(jobId), view));
  } else {
    document.title = "Jobs";
    await withErrors(() => loadList(view));
  }
  if (view === viewCount) find("h1", jobId ? jobView : listView).focus();
}

function showView(view) {
  for (const each of [loginView, listView, jobView]) each.hidden = each !== view;
  find("#log-out").hidden = view === loginView;
}

function showLogin(message) {
  viewCount++;
  sessionStorage.removeItem("token");
  shownJob = undefined;
  clearList();
  deletion.close();
  showView(loginView);
  setStatus("");
  showError(message);
  document.title = "Log in · Jobs";
  find("#email").focus();
}

// The list

async function loadList(view) {
  if (!pages.length) setStatus("Loading …");
  const fresh = [];
  let cursor;
  do {
    // A page's previous response is of use only if the page starts at the same cursor as before.
    const at = fresh.length;
    const previous = cursor === pages[at - 1]?.next_cursor ? pages[at] : undefined;
    fresh.push(await api.list({ limit: JOBS_PER_PAGE, cursor, previous }));
    cursor = fresh.at(-1).next_cursor;
  } while (cursor && fresh.length < pages.length);
  if (view !== viewCount) return false;
  const changed = fresh.length !== pages.length || fresh.some((page, at) => page !== pages[at]);
  pages = fresh;
  if (changed) {
    find("tbody", listView).replaceChildren(...pages.flatMap((page) => page.jobs.map(jobRow)));
    updateListControls();
  }
  setStatus("");
  return changed;
}

async function loadMore() {
  const page = await api.list({ limit: JOBS_PER_PAGE, cursor: pages.at(-1).next_cursor });
  const rows = page.jobs.map(jobRow);
  pages.push(page);
  find("tbody", listView).append(...rows);
  updateListControls();
  if (rows.length) find("a", rows[0]).focus();
  flashStatus(`${plural(rows.length, "job")} more.`);
}

function clearList() {
  pages = [];
  find("tbody", listView).replaceChildren();
  for (const part of ["table", ".empty", ".more"]) find(part, listView).hidden = true;
}

function updateListControls() {
  const empty = !pages[0].jobs.length;
  find("table", listView).hidden = empty;
  find(".empty", listView).hidden = !empty;
  find(".more", listView).hidden = !pages.at(-1).next_cursor;
}

function jobRow(job) {
  const element = find("#row").content.cloneNode(true).firstElementChild;
  const link = find("a", element);
  link.href = `#/jobs/${job.job_id}`;
  link.textContent = job.job_name ?? "Without a name";
  find(".id", element).textContent = `Job ${job.job_id}`;
  fillFacts(element, job, job.status_meaning);
  return element;
}

// One job

async function loadJob(jobId, view) {
  if (!shownJob) setStatus("Loading …");
  const job = await api.get(jobId, { previous: shownJob });
  if (view !== viewCount) return false;
  const changed = job !== shownJob;
  shownJob = job;
  if (changed) showJob(job);
  setStatus("");
  return changed;
}

function showJob({ job_info: info }) {
  const name = info.job_name ?? `Job ${info.job_id}`;
  document.title = `${name} · Jobs`;
  find("#job-heading").textContent = name;
  const listed = pages.flatMap((page) => page.jobs).find((job) => job.job_id === info.job_id);
  const known = listed?.status === info.status && listed?.status_meaning;
  fillFacts(jobView, info, known || (info.status ?? "unknown").replaceAll("_", " "));
  find(".email", jobView).textContent = info.email ?? "–";
  const count = Object.keys(info.object_uuid_names).length;
  find(".files-heading", jobView).textContent = plural(count, "file");
  find(".files", jobView).replaceChildren();
  filesShown = 0;
  showFiles();
  find("#job-content").hidden = false;
}

function showFiles() {
  const byName = new Intl.Collator(undefined, { numeric: true });
  const files = Object.entries(shownJob.job_info.object_uuid_names);
  files.sort(([, one], [, other]) => byName.compare(one, other));
  const cards = files.slice(filesShown, filesShown + FILES_PER_PAGE).map(fileCard);
  const more = filesShown > 0;
  filesShown += cards.length;
  find(".files", jobView).append(...cards);
  find(".more", jobView).hidden = filesShown === files.length;
  if (more) find("button", cards[0]).focus();
}

function fileCard([uuid, fileName]) {
  const { job_info: info, results } = shownJob;
  const element = find("#file").content.cloneNode(true).firstElementChild;
  find("h3", element).textContent = fileName;
  const reason = info.failed_to_process[uuid];
  find(".reason", element).hidden = reason === undefined;
  find(".reason", element).textContent = `Not processed: ${reason}`;
  for (const [selector, options] of [[".open", {}], [".download", { downloadAs: fileName }]]) {
    const button = find(selector, element);
    button.setAttribute("aria-label", `${button.textContent} ${fileName}`);
    button.onclick = () =>
      withErrors(async () => follow((await api.objectUrl(info.job_id, uuid, options)).url));
  }
  showPreview(find(".preview", element), info.job_id, uuid, fileName);
  if (results[uuid]) showResult(find("details", element), results[uuid], fileName);
  return element;
}

async function showPreview(preview, jobId, uuid, fileName) {
  // The whole image stands in for a thumbnail: the API has none.
  const extension = fileName.includes(".") ? fileName.split(".").at(-1) : "file";
  const without = () => (preview.textContent = extension.toUpperCase());
  if (!IMAGE.test(fileName)) return without();
  // The file name is next to it.
  const image = Object.assign(new Image(), { alt: "", loading: "lazy", onerror: without });
  preview.append(image);
  try {
    image.src = (await api.objectUrl(jobId, uuid)).url;
  } catch {
    without();
  }
}

function showResult(details, urls, fileName) {
  const text = find("pre", details);
  text.setAttribute("aria-label", `Result of ${fileName}`);
  find("a", details).href = urls.full;
  details.hidden = false;
  details.ontoggle = async () => {
    if (!details.open || text.textContent) return;
    text.textContent = "Loading …";
    try {
      const answer = await fetch(urls.min);
      if (answer.status === 403) throw new Error(LINK_EXPIRED);
      if (!answer.ok) throw new Error(`S3 answered with status ${answer.status}.`);
      text.textContent = JSON.stringify(await answer.json(), null, 2);
    } catch (error) {
      text.textContent = "";
      details.open = false;
      showError(error.message);
    }
  };
}

/** Open a URL in a new tab. */
function follow(url) {
  const link = document.createElement("a");
  Object.assign(link, { href: url, target: "_blank", rel: "noopener" }).click();
}

// Deletion

function confirmDeletion() {
  const { job_info: info } = shownJob;
  const files = plural(Object.keys(info.object_uuid_names).length, "file");
  find("#deletion-text").textContent =
    `“${find("#job-heading").textContent}”, its ${files} and their results go for good.`;
  find(".failure", deletion).textContent = "";
  deletion.showModal();
  find(".cancel", deletion).focus();
}

async function deleteJob() {
  const name = find("#job-heading").textContent;
  find(".failure", deletion).textContent = "";
  setDeleting(true);
  setStatus("Deleting …");
  try {
    await api.delete(shownJob.job_info.job_id);
    deletion.close();
    clearList();
    // So that the browser's back button does not lead to it.
    history.replaceState(null, "", "#");
    await show();
    flashStatus(`“${name}” is deleted.`);
  } catch (error) {
    setStatus("");
    if (error.status === 401) return sessionEnded();
    find(".failure", deletion).textContent = error.message;
  } finally {
    setDeleting(false);
  }
}

function setDeleting(on) {
  find("progress", deletion).hidden = !on;
  for (const button of deletion.querySelectorAll("button")) button.disabled = on;
}

// Used by all of them

/** Do what needs the API, and show what went wrong. */
async function withErrors(work) {
  showError("");
  try {
    return await work();
  } catch (error) {
    setStatus("");
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) sessionEnded();
    else showError(error.message);
  }
}

function sessionEnded() {
  showLogin("Your session has ended. Please log in again.");
}

/** Show what is going on, and have screen readers announce it: in the dialog while it is open. */
function setStatus(text) {
  clearTimeout(statusTimer);
  find("#status").textContent = deletion.open ? "" : text;
  find(".note", deletion).textContent = deletion.open ? text : "";
}

/** Show what was done, for a few seconds. */
function flashStatus(text) {
  setStatus(text);
  statusTimer = setTimeout(setStatus, FLASH_MILLISECONDS, "");
}

function showError(text) {
  find("#error").textContent = text;
}

function fillFacts(within, job, meaning) {
  const state = find(".state", within);
  state.textContent = meaning;
  state.dataset.tone = statusTone(job.status ?? "");
  find(".date", within).textContent = formatDate(job.date);
  find(".size", within).textContent = formatSize(job.total_size);
  find(".credits", within).textContent = job.credits_spent.toLocaleString();
}

function statusTone(status) {
  if (status === "success") return "good";
  if (status.startsWith("success_") || status === "failed_requeued") return "mixed";
  if (status.startsWith("failed")) return "bad";
  return /^(uploading|queued|processing)/.test(status) ? "going" : "other";
}

function formatDate(text) {
  // Date does not parse nanoseconds.
  const parsed = new Date(`${(text ?? "").slice(0, 19).replace(" ", "T")}Z`);
  if (Number.isNaN(parsed.getTime())) return text ?? "–";
  return parsed.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

function formatSize(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const power = bytes ? Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1) : 0;
  return (bytes / 1000 ** power).toLocaleString(undefined, {
    style: "unit",
    unit: units[power],
    unitDisplay: power ? "short" : "long",
    maximumFractionDigits: 1,
  });
}

function plural(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}

// Events

find("form", loginView).onsubmit = async (event) => {
  event.preventDefault();
  showError("");
  const [email, password] = ["#email", "#password"].map((id) => find(id).value);
  try {
    sessionStorage.setItem("token", await logIn(config.aws, config.client_id, email, password));
  } catch (error) {
    return showError(error.message);
  }
  show();
};

async function refresh(load) {
  const changed = await withErrors(() => load(viewCount));
  if (changed === undefined) return;
  flashStatus(changed ? "Up to date." : "Nothing has changed.");
}

find("#email").value = config.email;
find("#password").value = config.password;
find("#log-out").onclick = () => showLogin("");
find(".refresh", listView).onclick = () => refresh(loadList);
find(".refresh", jobView).onclick = () =>
  refresh((view) => loadJob(shownJob.job_info.job_id, view));
find(".more", listView).onclick = () => withErrors(loadMore);
find(".more", jobView).onclick = showFiles;
find(".danger", jobView).onclick = confirmDeletion;
find(".confirm", deletion).onclick = deleteJob;
// Escape does not close the dialog while a deletion is running.
deletion.oncancel = (event) => {
  if (!find("progress", deletion).hidden) event.preventDefault();
};

addEventListener("hashchange", show);
show();
