import { confirmDeletion } from "./deletion.js";
import { find, setState } from "./dom.js";
import { hideFiles, showFiles } from "./files.js";
import { fillFacts, jobName, plural, shownName } from "./format.js";
import { forgetJob, listAddress } from "./list.js";
import { flashStatus } from "./notices.js";
import { POLL_SECONDS, QUIET, api, attempt, refresh, repeat, signal } from "./service.js";

const view = find("#job");
const part = (selector) => find(selector, view);

let jobId;
let job;

export async function showJob(shownId) {
  [jobId, job] = [shownId, undefined];
  scrollTo(0, 0);
  hideFiles();
  part(".back").href = listAddress();
  showName(`Job ${jobId}`);
  setState(view, "loading");
  if ((await attempt(view, load)) === undefined) setState(view, "failed");
  part("h1").focus();
  repeat(poll, secondsUntilNext);
}

async function load(options) {
  const previous = job;
  const request = { include: "object-urls", previous, signal, ...options };
  job = await api.get(jobId, request).catch((error) => {
    if (error.status !== 404) throw error;
  });
  if (job && job === previous) return false;
  setState(view, job ? "shown" : "missing");
  if (job) {
    const { job_info: info } = job;
    showName(jobName(info));
    fillFacts(view, info);
    part("progress").hidden = info.progress === null;
    part("progress").value = info.progress;
    part(".meaning").textContent = info.status_meaning;
    part(".email").textContent = shownName(info.email, "–");
    part(".job-id").textContent = info.job_id;
    showFiles(job, poll);
  } else {
    showName(`Job ${jobId}`);
    hideFiles();
    forgetJob(jobId);
  }
  return true;
}

async function poll() {
  const wasFinished = job?.job_info.finished ?? true;
  await attempt(view, load, QUIET);
  if (!wasFinished && job?.job_info.finished) flashStatus(`${job.job_info.status_meaning}.`);
}

// Finished: before its URLs end.
function secondsUntilNext() {
  if (!job?.job_info.finished) return job && POLL_SECONDS;
  return Math.max((Date.parse(job.expires_at) - Date.now()) / 1000 - 60, 60);
}

function showName(name) {
  document.title = `${name} · Jobs`;
  part("h1").title = part("bdi").textContent = name;
}

async function copy(text) {
  const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
  flashStatus(copied ? "Copied." : `The browser does not allow copying ${text}`);
}

part(".copy-link").onclick = () => copy(location.href);
part(".copy-id").onclick = () => copy(jobId);
part(".refresh").onclick = () => refresh(view, load);
part(".danger").onclick = () => {
  const files = plural(Object.keys(job.job_info.object_uuid_names).length, "file");
  confirmDeletion(jobId, jobName(job.job_info), `its ${files}`, () => {
    forgetJob(jobId);
    // So that the browser's back button does not lead to it.
    history.replaceState(null, "", listAddress());
    dispatchEvent(new Event("hashchange"));
  });
};
