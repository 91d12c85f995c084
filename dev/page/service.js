import { ApiError, jobsApi } from "./api.js";
import { find } from "./dom.js";
import { PageError, endWait, flashStatus, setStatus, showProblem } from "./notices.js";
import { config, endSession, token } from "./session.js";

export const POLL_SECONDS = 3;
/** For requests that the user has not asked for. */
export const QUIET = { onWait() {} };

let viewAbort = new AbortController();
/** Aborts when another view is shown. */
export let { signal } = viewAbort;

export const api = jobsApi(config.api, token, {
  onWait: (seconds, why) => setStatus(`${why} Trying again in ${seconds}\u00a0s\u00a0…`),
});

export function leaveView() {
  viewAbort.abort();
  viewAbort = new AbortController();
  ({ signal } = viewAbort);
}

/** The work's result. If it fails, a message within that element, and undefined. */
export async function attempt(within, work, options) {
  const view = signal;
  const slot = find(".problem", within);
  if (options !== QUIET) slot.replaceChildren();
  const [result, failure] = await work(options).then((done) => [done], (error) => [, error]);
  // What would follow in another view is never done.
  if (view.aborted) return new Promise(() => {});
  if (!failure) {
    slot.replaceChildren();
    if (options !== QUIET) endWait();
    return result;
  }
  if (failure.status === 401) return endSession();
  if (!(failure instanceof ApiError || failure instanceof PageError)) throw failure;
  // Screen readers would say it again.
  if (options === QUIET && slot.textContent.startsWith(failure.message)) return;
  setStatus("");
  showProblem(slot, failure, () => attempt(within, work));
}

export async function refresh(within, load) {
  const changed = await attempt(within, load);
  if (changed !== undefined) flashStatus(changed ? "Up to date." : "Nothing has changed.");
}

/** Do the work again and again while the page is seen, and when the user comes back to it. */
export function repeat(work, secondsUntilNext) {
  const view = signal;
  let timer;
  const schedule = () => {
    clearTimeout(timer);
    const seconds = secondsUntilNext();
    // Without: a refresh, or another try, may change that.
    timer = setTimeout(run, (seconds || POLL_SECONDS) * 1000, !seconds);
  };
  const run = async (isIdle) => {
    if (view.aborted) return;
    if (!document.hidden && isIdle !== true) await work();
    schedule();
  };
  document.addEventListener("visibilitychange", run, { signal });
  schedule();
}
