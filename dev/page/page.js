// Shows what the API returns. The requests are in client/api.js.

import { ApiError, jobsApi } from "./api.js";
import { logIn } from "./cognito.js";

const JOBS_PER_PAGE = 20;
const FILES_PER_PAGE = 24;
const FLASH_SECONDS = 6;
const POLL_SECONDS = 3;
const IMAGE = /\.(avif|bmp|gif|jpe?g|png|svg|webp)$/i;
const LINK_EXPIRED = "This link has expired. Refresh the job to get a new one.";

const find = (selector, within = document) => within.querySelector(selector);
const [loginView, listView, jobView] = ["#log-in", "#list", "#job"].map((id) => find(id));
const deletion = find("#deletion");

const config = await (await fetch("config.json")).json();
const api = jobsApi(config.api, () => sessionStorage.getItem("token"), {
  onWait: (seconds, why) => setStatus(`${why} Trying again in ${seconds}\u00a0s\u00a0…`),
});

// What is shown: the pages of the list, and one job with the number of its files shown so far.
let pages = [];
let shownJob;
let filesShown = 0;
// Ends the requests of a view when another one is shown.
let viewAbort = new AbortController();
let statusTimer;
let pollTimer;
let pollFailed = false;

// Views

async function showCurrentView() {
  const jobId = jobIdFromHash();
  leaveView();
  showError("");
  setStatus("");
  if (!sessionStorage.getItem("token")) return showLogin("");
  const { signal } = viewAbort;
  showView(jobId ? jobView : listView);
  if (jobId) {
    hideJob(jobId);
    await showingErrors(() => loadJob(signal));
    schedulePoll();
  } else {
    document.title = "Jobs";
    await showingErrors(() => loadList(signal));
  }
  if (!signal.aborted) find("h1", jobId ? jobView : listView).focus();
}

function jobIdFromHash() {
  return Number(/^#\/jobs\/(\d+)$/.exec(location.hash)?.[1]);
}

function leaveView() {
  viewAbort.abort();
  viewAbort = new AbortController();
  clearTimeout(pollTimer);
  pollFailed = false;
  shownJob = undefined;
}

function showView(view) {
  for (const each of [loginView, listView, jobView]) each.hidden = each !== view;
  find("#log-out").hidden = view === loginView;
}

function showLogin(message) {
  leaveView();
  sessionStorage.removeItem("token");
  clearList();
  deletion.close();
  showView(loginView);
  setStatus("");
  showError(message);
  document.title = "Log in · Jobs";
  find("#email").focus();
}

// The list

async function loadList(signal) {
  if (!pages.length) setStatus("Loading …");
  const newPages = [];
  let cursor;
  do {
    // A page's previous response is of use only if the page starts at the same cursor as before.
    const index = newPages.length;
    const previous = cursor === pages[index - 1]?.next_cursor ? pages[index] : undefined;
    newPages.push(await api.list({ limit: JOBS_PER_PAGE, cursor, previous, signal }));
    cursor = newPages.at(-1).next_cursor;
  } while (cursor && newPages.length < pages.length);
  const changed = newPages.length !== pages.length || newPages.some((page, index) => page !== pages[index]);
  pages = newPages;
  if (changed) {
    find("tbody", listView).replaceChildren(...pages.flatMap((page) => page.jobs.map(jobRow)));
    updateListControls();
  }
  setStatus("");
  return changed;
}

async function loadMore() {
  const { signal } = viewAbort;
  const page = await api.list({ limit: JOBS_PER_PAGE, cursor: pages.at(-1).next_cursor, signal });
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
  fillJobDetails(element, job);
  return element;
}

// One job

/** Before a job is loaded, or where there is none, only its number is shown. */
function hideJob(jobId) {
  shownJob = undefined;
  showJobName(`Job ${jobId}`);
  find("#job-content").hidden = find(".danger", jobView).hidden = true;
}

function showJobName(name) {
  document.title = `${name} · Jobs`;
  find("#job-heading").textContent = name;
}

async function loadJob(signal, options = {}) {
  const jobId = jobIdFromHash();
  if (!shownJob) setStatus("Loading …");
  let job;
  try {
    job = await api.get(jobId, { include: "object-urls", previous: shownJob, signal, ...options });
  } catch (error) {
    if (error.status === 404) hideJob(jobId);
    throw error;
  }
  if (!options.onWait) setStatus("");
  const changed = job !== shownJob;
  if (changed) showJob(job);
  return changed;
}

function showJob(job) {
  const { job_info: info } = job;
  const oldFiles = shownJob?.job_info.object_uuid_names;
  shownJob = job;
  showJobName(info.job_name ?? `Job ${info.job_id}`);
  fillJobDetails(jobView, info);
  find(".email", jobView).textContent = info.email ?? "–";
  const files = info.object_uuid_names;
  const count = Object.keys(files).length;
  find(".files-heading", jobView).textContent = plural(count, "file");
  const sameFiles = oldFiles && Object.keys(oldFiles).length === count &&
    Object.entries(files).every(([uuid, name]) => oldFiles[uuid] === name);
  if (sameFiles) {
    find(".files", jobView).childNodes.forEach(fillCard);
  } else {
    find(".files", jobView).replaceChildren();
    filesShown = 0;
    showFiles();
  }
  find("#job-content").hidden = find(".danger", jobView).hidden = false;
}

/** Load the job again in a few seconds or, if it is finished, before its URLs end. */
function schedulePoll() {
  clearTimeout(pollTimer);
  if (!shownJob) return;
  const secondsLeft = (Date.parse(shownJob.expires_at) - Date.now()) / 1000;
  const seconds = shownJob.job_info.finished ? Math.max(secondsLeft - 60, 60) : POLL_SECONDS;
  pollTimer = setTimeout(poll, seconds * 1000);
}

async function poll() {
  if (document.hidden || !shownJob) return;
  const { signal } = viewAbort;
  const wasFinished = shownJob.job_info.finished;
  try {
    await loadJob(signal, { onWait: () => {} });
    if (pollFailed) showError("");
    pollFailed = false;
    const { finished, status_meaning } = shownJob.job_info;
    if (finished && !wasFinished) flashStatus(`${status_meaning}.`);
  } catch (error) {
    pollFailed = true;
    showFailure(error, signal);
  }
  if (!signal.aborted) schedulePoll();
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
  if (more) find(".open", cards[0]).focus();
}

function fileCard([uuid, fileName]) {
  const card = find("#file").content.cloneNode(true).firstElementChild;
  card.dataset.uuid = uuid;
  find("h3", card).textContent = fileName;
  for (const control of card.querySelectorAll(".actions > *")) {
    control.setAttribute("aria-label", `${control.textContent} ${fileName}`);
  }
  find(".download", card).onclick = () => showingErrors(() => download(uuid, fileName));
  find("pre", card).setAttribute("aria-label", `Result of ${fileName}`);
  const details = find("details", card);
  details.ontoggle = () => {
    if (details.open && !find("pre", card).textContent) showingErrors(() => showResult(details, uuid));
  };
  addPreview(find(".preview", card), uuid, fileName);
  fillCard(card);
  return card;
}

/** Show in a card what changes with the job, or with its URLs. */
function fillCard(card) {
  const { job_info: info, results, object_urls: urls } = shownJob;
  const { uuid } = card.dataset;
  const reason = info.failed_to_process[uuid];
  find(".reason", card).hidden = reason === undefined;
  find(".reason", card).textContent = `Not processed: ${reason}`;
  find(".open", card).href = urls[uuid];
  find("details", card).hidden = !results[uuid];
  if (results[uuid]) find("details a", card).href = results[uuid].full;
  const image = find("img", card);
  if (image?.hidden) setImage(image, urls[uuid]);
}

/** The whole image serves as the thumbnail: the API has none. */
function addPreview(preview, uuid, fileName) {
  const extension = fileName.includes(".") ? fileName.split(".").at(-1) : "file";
  const text = document.createElement("span");
  text.textContent = extension.toUpperCase();
  preview.append(text);
  if (!IMAGE.test(fileName)) return;
  // With crossOrigin, scripts can read the image from the browser's cache as well. The file name
  // is next to it, so it needs no text of its own.
  const image = Object.assign(new Image(), { alt: "", loading: "lazy", crossOrigin: "anonymous" });
  image.onerror = () => {
    image.hidden = true;
    // Its URL may have ended. No job, or another one, is shown once the view has changed.
    const url = shownJob?.object_urls[uuid];
    if (url && !setImage(image, url)) renewUrls();
  };
  preview.prepend(image);
  setImage(image, shownJob.object_urls[uuid]);
}

/** Show the image at a URL, unless that is the one that it already has. */
function setImage(image, url) {
  if (image.getAttribute("src") === url) return false;
  image.src = url;
  image.hidden = false;
  return true;
}

let renewing;

/** Load the job again, once for all the images that have failed. */
function renewUrls() {
  renewing ??= poll().finally(() => (renewing = undefined));
}

async function showResult(details, uuid) {
  const text = find("pre", details);
  text.textContent = "Loading …";
  let result = "";
  try {
    const response = await fetchFile(shownJob.results[uuid].min, LINK_EXPIRED);
    const body = await response.text();
    result = JSON.stringify(parseResult(body), null, 2);
  } finally {
    text.textContent = result;
    details.open = result !== "";
  }
}

function parseResult(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new PageError("This result is not valid JSON. “In full” opens the whole file.");
  }
}

/** The response with a file. S3 refuses by 403 or, once the URL's credentials have ended, by 400. */
async function fetchFile(url, refusal) {
  const { signal } = viewAbort;
  const response = await fetch(url, { signal }).catch(() => {
    signal.throwIfAborted();
    throw new PageError("The file cannot be reached. Please check your connection.");
  });
  if (response.ok) return response;
  if (response.status === 404) throw new PageError("This file does not exist.");
  if ([400, 403].includes(response.status)) throw new PageError(refusal);
  throw new PageError(`The file cannot be loaded (status ${response.status}). Please try again.`);
}

/** Save a file under its name: no new tab, which a browser blocks long after the user's click. */
async function download(uuid, fileName) {
  const { signal } = viewAbort;
  setStatus(`Preparing “${fileName}” …`);
  const options = { downloadAs: fileName.trim() ? fileName : uuid, signal };
  const { url } = await api.objectUrl(shownJob.job_info.job_id, uuid, options);
  // Where S3 has an error instead of the file, following the link would leave this page.
  // A 403 can mean that it does not exist: the API may not list the bucket.
  const response = await fetchFile(url, "This file does not exist, or it cannot be read.");
  await response.body.cancel();
  Object.assign(document.createElement("a"), { href: url }).click();
  flashStatus(`“${fileName}” is being downloaded.`);
}

// Deletion

function confirmDeletion() {
  const { job_info: info } = shownJob;
  const files = plural(Object.keys(info.object_uuid_names).length, "file");
  find("#deletion-text").textContent =
    `“${find("#job-heading").textContent}”, its ${files} and all results will be deleted permanently.`;
  find(".failure", deletion).textContent = "";
  deletion.showModal();
  find(".cancel", deletion).focus();
}

async function deleteJob() {
  const name = find("#job-heading").textContent;
  find(".failure", deletion).textContent = "";
  setDeleting(true);
  setStatus("Deleting …");
  clearTimeout(pollTimer);
  try {
    await api.delete(shownJob.job_info.job_id);
    deletion.close();
    clearList();
    // So that the browser's back button does not lead to it.
    history.replaceState(null, "", "#");
    await showCurrentView();
    flashStatus(`“${name}” is deleted.`);
  } catch (error) {
    setStatus("");
    if (error.status === 401) return sessionEnded();
    find(".failure", deletion).textContent = error.message;
    schedulePoll();
  } finally {
    setDeleting(false);
  }
}

function setDeleting(on) {
  find("progress", deletion).hidden = !on;
  for (const button of deletion.querySelectorAll("button")) button.disabled = on;
}

// Used by all of them

/** An error whose message can be shown, as that of an ApiError. */
class PageError extends Error {}

/** Do what needs the network, and show what went wrong. */
async function showingErrors(work) {
  const { signal } = viewAbort;
  showError("");
  try {
    return await work();
  } catch (error) {
    showFailure(error, signal);
  }
}

function showFailure(error, signal) {
  // Another view is shown by now.
  if (signal.aborted) return;
  setStatus("");
  if (error.status === 401) sessionEnded();
  else if (error instanceof ApiError || error instanceof PageError) showError(error.message);
  else throw error;
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
  statusTimer = setTimeout(setStatus, FLASH_SECONDS * 1000, "");
}

function showError(text) {
  find("#error").textContent = text;
}

function fillJobDetails(within, job) {
  const state = find(".state", within);
  state.textContent = job.status_meaning;
  state.dataset.tone = statusTone(job.status ?? "");
  find(".date", within).textContent = formatDate(job.date);
  find(".size", within).textContent = formatSize(job.total_size);
  const credits = find(".credits", within);
  credits.textContent = job.credits_spent.toLocaleString();
  credits.dataset.unit = job.credits_spent === 1 ? "credit" : "credits";
  const bar = find("progress", within);
  bar.hidden = !job.status?.startsWith("processing");
  if (job.progress === null) bar.removeAttribute("value");
  else bar.value = job.progress;
}

function statusTone(status) {
  if (status === "success") return "good";
  if (status.startsWith("success_") || status === "failed_requeued") return "mixed";
  if (status.startsWith("failed")) return "bad";
  return /^(uploading|queued|processing)/.test(status) ? "running" : "other";
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
  showCurrentView();
};

async function refresh(load) {
  const changed = await showingErrors(() => load(viewAbort.signal));
  if (changed === undefined) return;
  flashStatus(changed ? "Up to date." : "Nothing has changed.");
}

find("#email").value = config.email;
find("#password").value = config.password;
find("#log-out").onclick = () => {
  sessionStorage.removeItem("token");
  // A new document has nothing of the user's.
  location.reload();
};
find(".refresh", listView).onclick = () => refresh(loadList);
find(".refresh", jobView).onclick = () => refresh(loadJob).then(schedulePoll);
find(".more", listView).onclick = () => showingErrors(loadMore);
find(".more", jobView).onclick = showFiles;
find(".danger", jobView).onclick = confirmDeletion;
find(".confirm", deletion).onclick = deleteJob;
// Escape does not close the dialog while a deletion is running.
deletion.oncancel = (event) => {
  if (!find("progress", deletion).hidden) event.preventDefault();
};

document.onvisibilitychange = poll;
addEventListener("hashchange", showCurrentView);
// The browser's back button may lead to the page as it was before a log-out.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
showCurrentView();
