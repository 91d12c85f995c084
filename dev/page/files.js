// Images as cards, other files as rows; more of them as the user scrolls.

import { copyOf, create, find, findAll } from "./dom.js";
import { byName, plural, shownName } from "./format.js";
import { PageError, flashStatus, setStatus } from "./notices.js";
import { readable } from "./result.js";
import { api, attempt, signal } from "./service.js";

const FILES_PER_STEP = 60;
const IMAGE = /\.(avif|bmp|gif|jpe?g|png|svg|webp)$/i;

const view = find("#files");
const more = find(".more", view);

let job;
let reload;
let renewing;
// [uuid, name] of each, and how many are in the document.
let files = [];
let shown = 0;

const whenSeen = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    if (target === more) showMore();
    else attempt(target, () => showResult(target));
  }
});

export function hideFiles() {
  view.hidden = true;
  whenSeen.disconnect();
  for (const list of findAll(".rows, .cards", view)) list.replaceChildren();
}

export function showFiles(newJob, reloadJob) {
  [job, reload] = [newJob, reloadJob];
  const old = String(files);
  const names = Object.entries(job.job_info.object_uuid_names);
  files = names.map(([uuid, name]) => [uuid, shownName(name, uuid)]);
  // Other files are few, and those that failed are among them.
  files.sort(([, one], [, other]) => IMAGE.test(one) - IMAGE.test(other) || byName(one, other));
  if (!view.hidden && String(files) === old) return findAll("[data-uuid]", view).forEach(fill);
  hideFiles();
  view.hidden = false;
  find("h2", view).textContent = plural(files.length, "file");
  shown = 0;
  showMore();
}

function showMore() {
  for (const [uuid, name] of files.slice(shown, shown + FILES_PER_STEP)) {
    find(IMAGE.test(name) ? ".cards" : ".rows", view).append(fileCard(uuid, name));
  }
  shown = Math.min(shown + FILES_PER_STEP, files.length);
  more.hidden = shown === files.length;
  more.textContent = `${shown.toLocaleString()} of ${plural(files.length, "file")} …`;
  // What stays in view is not reported again.
  whenSeen.unobserve(more);
  whenSeen.observe(more);
}

function fileCard(uuid, name) {
  const card = copyOf("#file");
  card.dataset.uuid = uuid;
  find("h3", card).title = find("bdi", card).textContent = name;
  for (const control of findAll(".actions > *, .result a, summary", card)) {
    control.ariaLabel = `${control.textContent} ${name}`;
  }
  find("pre", card).ariaLabel = `Result of ${name}`;
  find(".download", card).onclick = () => attempt(card, () => download(uuid, name));
  const preview = find(".preview", card);
  preview.append(create("span", {}, /\.(\w{1,5})$/.exec(name)?.[1].toUpperCase() ?? "FILE"));
  if (IMAGE.test(name)) preview.prepend(newImage());
  fill(card);
  return card;
}

/** Show what changes with the job, or with its URLs. */
function fill(card) {
  const { uuid } = card.dataset;
  const [url, result] = [job.object_urls[uuid], job.results[uuid]];
  const reason = job.job_info.failed_to_process[uuid];
  find(".reason", card).hidden = reason === undefined;
  find(".reason", card).textContent = `Not processed: ${reason}`;
  find(".open", card).href = url;
  find(".result", card).hidden = !result;
  const image = find("img", card);
  if (image && image.getAttribute("src") !== url) {
    image.src = url;
    image.hidden = false;
  }
  if (!result) return;
  find(".result a", card).href = result.full;
  if (!find("pre", card).textContent) whenSeen.observe(card);
}

/** The whole image serves as the thumbnail: the API has none. */
function newImage() {
  // With crossOrigin, scripts can read it from the browser's cache as well.
  const image = create("img", { alt: "", loading: "lazy", crossOrigin: "anonymous" });
  image.onerror = () => {
    image.hidden = true;
    // Another job may be shown by now.
    if (image.isConnected) renewUrls();
  };
  return image;
}

/** Load the job again, once for all that have failed. */
const renewUrls = () => (renewing ??= reload().finally(() => (renewing = undefined)));

async function showResult(card) {
  whenSeen.unobserve(card);
  const response = await fetchFile(() => job.results[card.dataset.uuid].min);
  const result = await response.json().catch(() => {
    throw new PageError("This result is not valid JSON.");
  });
  find("pre", card).textContent = JSON.stringify(result, null, 2);
  find(".readable", card).replaceChildren(readable(result));
}

async function fetchFile(urlOf) {
  const send = () =>
    fetch(urlOf(), { signal }).catch(() => {
      throw new PageError("The file cannot be reached.");
    });
  let response = await send();
  // Its URL may have ended, or the credentials that signed it.
  if (response.status === 403 || response.status === 400) response = await renewUrls().then(send);
  const { ok, status } = response;
  if (ok) return response;
  // A 403 too can mean that it does not exist: the API may not list the bucket.
  const missing = status === 404 || status === 403;
  throw new PageError(missing ? "This file does not exist." : `It has the status ${status}.`);
}

/** No new tab, which a browser blocks long after the user's click. */
async function download(uuid, name) {
  setStatus(`Preparing “${name}” …`);
  const options = { downloadAs: name, signal };
  const { url } = await api.objectUrl(job.job_info.job_id, uuid, options);
  // If S3 has an error instead, following the link would leave this page.
  await (await fetchFile(() => url)).body.cancel();
  create("a", { href: url }).click();
  flashStatus(`“${name}” is being downloaded.`);
}
