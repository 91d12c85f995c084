// The page: what the API answers, shown. How the API is called is in api.js.

import { ApiError, jobsApi } from "./api.js";
import { logIn } from "./cognito.js";

const JOBS_A_PAGE = 20;
const FILES_A_PAGE = 24;
const FADE_MILLISECONDS = 6000;
const IMAGE = /\.(avif|bmp|gif|jpe?g|png|svg|webp)$/i;
const LATE_LINK = "This link is not good any more. Refresh the job for a new one.";

const find = (selector, within = document) => within.querySelector(selector);
const [loginView, listView, jobView] = ["#log-in", "#list", "#job"].map((id) => find(id));
const deletion = find("#deletion");

const config = await (await fetch("config.json")).json();
const api = jobsApi(
  config.api,
  () => sessionStorage.getItem("token"),
  (seconds, why) => say(`${why} Trying again in ${seconds}\u00a0s\u00a0…`),
);

// What is shown: the pages of the list, and one job with how many of its files are to be seen.
let pages = [];
let shownJob;
let filesShown = 0;
// Counts the views, so that a late answer to an earlier one is not shown in the current one.
let visits = 0;
let fading;

// Views

async function show() {
  const visit = ++visits;
  const jobId = /^#\/jobs\/(\d+)$/.exec(location.hash)?.[1];
  complain("");
  say("");
  if (!sessionStorage.getItem("token")) return showLogin("");
  only(jobId ? jobView : listView);
  if (jobId) {
    find("#job-content").hidden = true;
    shownJob = undefined;
    await attempt(() => loadJob(Number(jobId), visit));
  } else {
    document.title = "Jobs";
    await attempt(() => loadList(visit));
  }
  if (visit === visits) find("h1", jobId ? jobView : listView).focus();
}

function only(view) {
  for (const each of [loginView, listView, jobView]) each.hidden = each !== view;
  find("#log-out").hidden = view === loginView;
}

function showLogin(message) {
  visits++;
  sessionStorage.removeItem("token");
  shownJob = undefined;
  forgetList();
  deletion.close();
  only(loginView);
  say("");
  complain(message);
  document.title = "Log in · Jobs";
  find("#email").focus();
}

// The list

async function loadList(visit) {
  if (!pages.length) say("Loading …");
  const fresh = [];
  let cursor;
  do {
    // The pages after one that goes on elsewhere than before are other requests than before.
    const at = fresh.length;
    const previous = cursor === pages[at - 1]?.next_cursor ? pages[at] : undefined;
    fresh.push(await api.list({ limit: JOBS_A_PAGE, cursor, previous }));
    cursor = fresh.at(-1).next_cursor;
  } while (cursor && fresh.length < pages.length);
  if (visit !== visits) return false;
  const changed = fresh.length !== pages.length || fresh.some((page, at) => page !== pages[at]);
  pages = fresh;
  if (changed) {
    find("tbody", listView).replaceChildren(...pages.flatMap((page) => page.jobs.map(row)));
    finishList();
  }
  say("");
  return changed;
}

async function loadMore() {
  const page = await api.list({ limit: JOBS_A_PAGE, cursor: pages.at(-1).next_cursor });
  const rows = page.jobs.map(row);
  pages.push(page);
  find("tbody", listView).append(...rows);
  finishList();
  if (rows.length) find("a", rows[0]).focus();
  tell(`${counted(rows.length, "job")} more.`);
}

function forgetList() {
  pages = [];
  find("tbody", listView).replaceChildren();
  for (const part of ["table", ".empty", ".more"]) find(part, listView).hidden = true;
}

function finishList() {
  const empty = !pages[0].jobs.length;
  find("table", listView).hidden = empty;
  find(".empty", listView).hidden = !empty;
  find(".more", listView).hidden = !pages.at(-1).next_cursor;
}

function row(job) {
  const made = find("#row").content.cloneNode(true).firstElementChild;
  const link = find("a", made);
  link.href = `#/jobs/${job.job_id}`;
  link.textContent = job.job_name ?? "Without a name";
  find(".id", made).textContent = `Job ${job.job_id}`;
  fillFacts(made, job, job.status_meaning);
  return made;
}

// One job

async function loadJob(jobId, visit) {
  if (!shownJob) say("Loading …");
  const job = await api.get(jobId, { previous: shownJob });
  if (visit !== visits) return false;
  const changed = job !== shownJob;
  shownJob = job;
  if (changed) showJob(job);
  say("");
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
  find(".files-heading", jobView).textContent = counted(count, "file");
  find(".files", jobView).replaceChildren();
  filesShown = 0;
  showFiles();
  find("#job-content").hidden = false;
}

function showFiles() {
  const byName = new Intl.Collator(undefined, { numeric: true });
  const files = Object.entries(shownJob.job_info.object_uuid_names);
  files.sort(([, one], [, other]) => byName.compare(one, other));
  const cards = files.slice(filesShown, filesShown + FILES_A_PAGE).map(card);
  const more = filesShown > 0;
  filesShown += cards.length;
  find(".files", jobView).append(...cards);
  find(".more", jobView).hidden = filesShown === files.length;
  if (more) find("button", cards[0]).focus();
}

function card([uuid, fileName]) {
  const { job_info: info, results } = shownJob;
  const made = find("#file").content.cloneNode(true).firstElementChild;
  find("h3", made).textContent = fileName;
  const reason = info.failed_to_process[uuid];
  find(".reason", made).hidden = reason === undefined;
  find(".reason", made).textContent = `Not processed: ${reason}`;
  for (const [selector, options] of [[".open", {}], [".download", { downloadAs: fileName }]]) {
    const button = find(selector, made);
    button.setAttribute("aria-label", `${button.textContent} ${fileName}`);
    button.onclick = () =>
      attempt(async () => follow(await api.objectUrl(info.job_id, uuid, options)));
  }
  showPreview(find(".preview", made), info.job_id, uuid, fileName);
  if (results[uuid]) showResult(find("details", made), results[uuid], fileName);
  return made;
}

async function showPreview(preview, jobId, uuid, fileName) {
  // The whole image stands in for a thumbnail: the API has none.
  const extension = fileName.includes(".") ? fileName.split(".").at(-1) : "file";
  const without = () => (preview.textContent = extension.toUpperCase());
  if (!IMAGE.test(fileName)) return without();
  // The name is told beside it.
  const image = Object.assign(new Image(), { alt: "", loading: "lazy", onerror: without });
  preview.append(image);
  try {
    image.src = await api.objectUrl(jobId, uuid);
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
      if (answer.status === 403) throw new Error(LATE_LINK);
      if (!answer.ok) throw new Error(`S3 answered with status ${answer.status}.`);
      text.textContent = JSON.stringify(await answer.json(), null, 2);
    } catch (error) {
      text.textContent = "";
      details.open = false;
      complain(error.message);
    }
  };
}

/** Open a URL in a tab of its own: where it is a download, no tab stays, and neither goes ours. */
function follow(url) {
  const link = document.createElement("a");
  Object.assign(link, { href: url, target: "_blank", rel: "noopener" }).click();
}

// Deletion

function askToDelete() {
  const { job_info: info } = shownJob;
  const files = counted(Object.keys(info.object_uuid_names).length, "file");
  find("#deletion-text").textContent =
    `“${find("#job-heading").textContent}”, its ${files} and their results go for good.`;
  find(".failure", deletion).textContent = "";
  deletion.showModal();
  find(".cancel", deletion).focus();
}

async function deleteJob() {
  const name = find("#job-heading").textContent;
  find(".failure", deletion).textContent = "";
  running(true);
  say("Deleting …");
  try {
    await api.delete(shownJob.job_info.job_id);
    deletion.close();
    forgetList();
    // So that the browser does not lead back to it.
    history.replaceState(null, "", "#");
    await show();
    tell(`“${name}” is deleted.`);
  } catch (error) {
    say("");
    if (error.status === 401) return logInAgain();
    find(".failure", deletion).textContent = error.message;
  } finally {
    running(false);
  }
}

function running(on) {
  find("progress", deletion).hidden = !on;
  for (const button of deletion.querySelectorAll("button")) button.disabled = on;
}

// What all of them use

/** Do what needs the API, and say what went wrong. */
async function attempt(work) {
  complain("");
  try {
    return await work();
  } catch (error) {
    say("");
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) logInAgain();
    else complain(error.message);
  }
}

function logInAgain() {
  showLogin("Your session has ended. Please log in again.");
}

/** Tell the reader, and a screen reader, what goes on: in the dialog where it is open. */
function say(text) {
  clearTimeout(fading);
  find("#status").textContent = deletion.open ? "" : text;
  find(".note", deletion).textContent = deletion.open ? text : "";
}

/** Say what is done, for a while. */
function tell(text) {
  say(text);
  fading = setTimeout(say, FADE_MILLISECONDS, "");
}

function complain(text) {
  find("#error").textContent = text;
}

function fillFacts(within, job, meaning) {
  const state = find(".state", within);
  state.textContent = meaning;
  state.dataset.tone = tone(job.status ?? "");
  find(".date", within).textContent = date(job.date);
  find(".size", within).textContent = size(job.total_size);
  find(".credits", within).textContent = job.credits_spent.toLocaleString();
}

function tone(status) {
  if (status === "success") return "good";
  if (status.startsWith("success_") || status === "failed_requeued") return "mixed";
  if (status.startsWith("failed")) return "bad";
  return /^(uploading|queued|processing)/.test(status) ? "going" : "other";
}

function date(text) {
  // A Date takes no nanoseconds.
  const parsed = new Date(`${(text ?? "").slice(0, 19).replace(" ", "T")}Z`);
  if (Number.isNaN(parsed.getTime())) return text ?? "–";
  return parsed.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const power = bytes ? Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1) : 0;
  return (bytes / 1000 ** power).toLocaleString(undefined, {
    style: "unit",
    unit: units[power],
    unitDisplay: power ? "short" : "long",
    maximumFractionDigits: 1,
  });
}

function counted(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}

// What the reader does

find("form", loginView).onsubmit = async (event) => {
  event.preventDefault();
  complain("");
  const [email, password] = ["#email", "#password"].map((id) => find(id).value);
  try {
    sessionStorage.setItem("token", await logIn(config.aws, config.client_id, email, password));
  } catch (error) {
    return complain(error.message);
  }
  show();
};

async function refresh(load) {
  const changed = await attempt(() => load(visits));
  if (changed === undefined) return;
  tell(changed ? "Up to date." : "Nothing has changed.");
}

find("#email").value = config.email;
find("#password").value = config.password;
find("#log-out").onclick = () => showLogin("");
find(".refresh", listView).onclick = () => refresh(loadList);
find(".refresh", jobView).onclick = () =>
  refresh((visit) => loadJob(shownJob.job_info.job_id, visit));
find(".more", listView).onclick = () => attempt(loadMore);
find(".more", jobView).onclick = showFiles;
find(".danger", jobView).onclick = askToDelete;
find(".confirm", deletion).onclick = deleteJob;
// Escape does not hide a deletion that runs.
deletion.oncancel = (event) => {
  if (!find("progress", deletion).hidden) event.preventDefault();
};

addEventListener("hashchange", show);
show();
