/**
 * A client of the jobs API, without dependencies. Install this folder by npm, or copy this file and
 * api.d.ts with its types into your project.
 *
 * It runs in Chrome and Edge 80, Firefox 74, Safari 14.1, Node 18, Deno, Bun, React Native, and in
 * later versions of them.
 */

/**
 * @typedef {"uploading" | "queued" | "processing" | "success" | "success_credits_restored" |
 *   "success_credits_not_restored" | "failed_requeued" | "failed" | "failed_critical"} KnownStatus
 */

/** @typedef {KnownStatus | `processing_${number}%` | (string & {})} JobStatus */

/** @typedef {ReturnType<typeof jobsApi>} JobsApi */

/**
 * @typedef {object} Job
 * @property {number} job_id
 * @property {string | null} job_name
 * @property {string | null} date like "2020-01-01 12:00:00.000000000 UTC", which Safari's Date does
 *   not understand: use jobDate
 * @property {number} total_size in bytes
 * @property {number} credits_spent
 * @property {JobStatus | null} status
 * @property {string} status_meaning the status in words that can be shown
 * @property {number | null} progress how much of the job is done, in percent, while it is processed
 * @property {boolean} finished whether the status is final
 */

/**
 * @typedef {object} JobDetails
 * @property {string} user_id
 * @property {string | null} email
 * @property {Record<string, string>} object_uuid_names the original file name of each object
 * @property {Record<string, number>} media_length
 * @property {Record<string, string>} failed_to_process why objects could not be processed
 */

/** @typedef {Job & JobDetails} JobInfo */

/**
 * @typedef {object} JobList
 * @property {Job[]} jobs
 * @property {string} [next_cursor] present when more jobs follow
 * @property {string} etag
 */

/**
 * @typedef {object} WholeJob
 * @property {JobInfo} job_info
 * @property {Record<string, { full: string, min: string }>} results URLs of JSON files
 * @property {Record<string, string>} [object_urls] the URL of each object; with `include`
 * @property {string} expires_at when the URLs end, like "2026-01-01T13:05:00Z"
 * @property {string} etag
 */

/**
 * @typedef {object} ObjectUrl
 * @property {string} url
 * @property {string} expires_at when the URL ends, like "2026-01-01T13:05:00Z"
 */

/**
 * Gives the user's ID token, before each request. `refused` is true after a 401: then give a fresh
 * token, or the same one (or none) to have the 401 thrown.
 *
 * @callback IdToken
 * @param {{ refused: boolean }} request
 * @returns {string | null | undefined | Promise<string | null | undefined>}
 */

/**
 * Called before each retry, with the seconds until then, and the reason, which can be shown.
 *
 * @callback OnWait
 * @param {number} seconds
 * @param {string} message
 * @returns {void}
 */

/**
 * Options of every request. When `signal` aborts, its reason is thrown, as fetch does; or an Error
 * named AbortError where signals have no reason.
 *
 * @typedef {object} RequestOptions
 * @property {AbortSignal | null | undefined} [signal]
 * @property {OnWait | undefined} [onWait] instead of the client's own
 */

const MAX_TRIES = 4;
const MAX_PARALLEL = 6;
// 503 comes from the API; the others from API Gateway: too many requests, no response, a late one.
const TRANSIENT = [429, 502, 503, 504];
// API Gateway's 500 if Lambda was throttled. The API's own 500 has another message.
const GATEWAY_FAILURE = "Internal server error";
// API Gateway ends a request after 29 seconds.
const TIMEOUT_SECONDS = 35;
// Browsers revalidate their HTTP cache by themselves. Node has none.
const HAS_HTTP_CACHE = "window" in globalThis || "WorkerGlobalScope" in globalThis;

/** An error response of the API, or no response at all. */
export class ApiError extends Error {
  name = "ApiError";

  /**
   * @param {string} message can be shown to the user
   * @param {number} status the HTTP status; 0 without a response
   * @param {{ parameter?: string | undefined, requestId?: string | undefined, cause?: unknown }}
   *   [details] the parameter that a 400 or 404 is about, e.g. "job-id: number"; the request id to
   *   find the request in the API's log by
   */
  constructor(message, status, { parameter, requestId, cause } = {}) {
    super(message, { cause });
    this.status = status;
    this.parameter = parameter;
    this.requestId = requestId;
  }

  /** A plain object, for logs and for stores like Redux. */
  toJSON() {
    const { name, message, status, parameter, requestId } = this;
    return { name, message, status, parameter, requestId };
  }
}

/**
 * A client of the API:
 *
 *     const api = jobsApi("https://….amazonaws.com/api", () => idToken);
 *     const { jobs, next_cursor } = await api.list({ limit: 20 });
 *
 * Every request can be repeated safely, DELETE too. Transient errors (429, 502, 503, 504, API
 * Gateway's own 500, a lost connection) are therefore retried up to three times, after the time
 * that the API names. All other errors are thrown as an ApiError. At most six requests run at a
 * time; the others wait.
 *
 * @param {string} baseUrl of the API
 * @param {IdToken} idToken
 * @param {{ onWait?: OnWait | undefined, timeoutSeconds?: number | undefined,
 *   fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined }} [options]
 *   timeoutSeconds: how long one try may wait for the response, and for each next part of its body;
 *   fetch: the function to use instead of the global one
 */
export function jobsApi(baseUrl, idToken, options = {}) {
  const base = baseUrl.replace(/\/+$/, "");
  const timeoutSeconds = options.timeoutSeconds ?? TIMEOUT_SECONDS;
  /** @type {Set<Promise<unknown>>} */
  const running = new Set();

  /**
   * The response's body, or `previous` if it has not changed.
   *
   * @param {string} method
   * @param {string} route
   * @param {Record<string, string | number | null | undefined>} query
   * @param {RequestOptions & { previous?: { etag: string } | null | undefined }} requestOptions
   * @returns {Promise<any>}
   */
  async function request(method, route, query, { signal, onWait = options.onWait, previous }) {
    const parameters = Object.entries(query)
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
    const url = base + route + (parameters.length ? `?${parameters.join("&")}` : "");
    let refused = false;
    let token = await abortable(idToken({ refused }), signal);
    for (let tries = 1; ; tries++) {
      while (running.size >= MAX_PARALLEL) await abortable(Promise.race(running), signal);
      const attempt = send(method, url, token, previous, signal);
      const settled = attempt.catch(() => {}).finally(() => running.delete(settled));
      running.add(settled);
      const { body, error, retryAfter } = await attempt;
      if (!error) return body;
      if (error.status === 401 && !refused) {
        refused = true;
        const fresh = await abortable(idToken({ refused }), signal);
        if (!fresh || fresh === token) throw error;
        token = fresh;
        continue;
      }
      if (tries >= MAX_TRIES || retryAfter === undefined) throw error;
      // Never earlier than Retry-After; spread, so that clients do not come back all at once.
      const seconds = (retryAfter || 2 ** (tries - 1)) * (1 + Math.random() / 4);
      onWait?.(Math.ceil(seconds), error.message);
      await sleep(seconds, signal);
      token = await abortable(idToken({ refused: false }), signal);
    }
  }

  /**
   * One try. `retryAfter` is set where a retry makes sense: in seconds, 0 if the API names no time.
   *
   * @param {string} method
   * @param {string} url
   * @param {string | null | undefined} token
   * @param {{ etag: string } | null | undefined} previous
   * @param {AbortSignal | null | undefined} signal
   * @returns {Promise<{ body?: any, error?: ApiError, retryAfter?: number }>}
   */
  async function send(method, url, token, previous, signal) {
    const headers = new Headers();
    if (token) headers.set("Authorization", `Bearer ${token}`);
    // In a browser this header, or cache: "no-store", would cost a preflight before each request.
    if (previous && !HAS_HTTP_CACHE) headers.set("If-None-Match", previous.etag);
    const controller = new AbortController();
    const ignoreSignal = whenAborted(signal, () => controller.abort());
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    let isLate = false;
    function restartTimer() {
      clearTimeout(timer);
      if (controller.signal.aborted) return;
      timer = setTimeout(() => {
        isLate = true;
        controller.abort();
      }, timeoutSeconds * 1000);
    }
    restartTimer();
    let response, text, etag;
    try {
      // As a variable: a browser's fetch must not be called as a method of another object.
      const { fetch = globalThis.fetch } = options;
      response = await fetch(url, { method, headers, signal: controller.signal });
      etag = response.headers.get("ETag");
      if (previous && (response.status === 304 || (response.ok && etag === previous.etag))) {
        return { body: previous };
      }
      restartTimer();
      watchBody(response, restartTimer);
      text = await response.text();
    } catch (cause) {
      if (signal?.aborted) throw abortReason(signal);
      if (isLate) return { error: new ApiError("The API did not respond in time.", 0) };
      return { error: new ApiError("The API cannot be reached.", 0, { cause }), retryAfter: 0 };
    } finally {
      ignoreSignal();
      clearTimeout(timer);
      // Ends a body that is not needed.
      controller.abort();
    }
    const { status } = response;
    const requestId = response.headers.get("X-Request-Id") ?? undefined;
    let body, cause;
    try {
      body = JSON.parse(text);
    } catch (error) {
      cause = error;
    }
    if (response.ok && Object(body) === body) return { body: etag ? { ...body, etag } : body };
    if (response.ok) {
      // For example a web server that gives its start page for every path.
      const foreign = "The response is not the API's.";
      return { error: new ApiError(foreign, status, { requestId, cause }) };
    }
    const message = body?.message || `The API responded with status ${status}.`;
    const parameter = body?.affected_query_parameter;
    const error = new ApiError(message, status, { parameter, requestId, cause });
    if (!TRANSIENT.includes(status) && message !== GATEWAY_FAILURE) return { error };
    return { error, retryAfter: retrySeconds(response.headers.get("Retry-After")) };
  }

  /**
   * @param {{ limit?: number | null | undefined, cursor?: string | null | undefined,
   *   previous?: JobList | null | undefined } & RequestOptions} [options]
   * @returns {Promise<JobList>}
   */
  function list({ limit, cursor, ...rest } = {}) {
    return request("GET", "/jobs/list", { limit, cursor }, rest);
  }

  return {
    /**
     * The user's jobs, newest first: all of them, or up to `limit`. The next ones follow at
     * `cursor`, the `next_cursor` of the response before. Pass an earlier response to the same
     * request as `previous`: it is returned itself if nothing has changed.
     */
    list,

    /**
     * All the user's jobs, one after the other, newest first.
     *
     * @param {{ limit?: number | null | undefined } & RequestOptions} [options] limit: jobs per
     *   request; without it one request gets them all, up to 6 MB
     * @returns {AsyncGenerator<Job, void, undefined>}
     */
    async *jobs(options = {}) {
      /** @type {string | undefined} */
      let cursor;
      do {
        const page = await list({ ...options, cursor });
        cursor = nextCursor(page, cursor);
        yield* page.jobs;
      } while (cursor);
    },

    /**
     * One job in full; with `include: "object-urls"` also the URL of each of its files. URLs end at
     * `expires_at` or when the credentials that signed them end, so do not store them. `previous`
     * is as in list.
     *
     * @param {number} jobId
     * @param {{ include?: "object-urls" | null | undefined,
     *   previous?: WholeJob | null | undefined } & RequestOptions} [options]
     * @returns {Promise<WholeJob>}
     */
    async get(jobId, { include, previous, ...rest } = {}) {
      const query = { "job-id": jobId, include };
      const job = await request("GET", "/jobs/get", query, { previous, ...rest });
      // A job of thousands of files comes in several responses.
      let cursor = job.next_cursor;
      delete job.next_cursor;
      while (cursor) {
        const page = await request("GET", "/jobs/get", { ...query, cursor }, rest);
        Object.assign(job.results, page.results);
        if (page.object_urls) Object.assign(job.object_urls, page.object_urls);
        cursor = nextCursor(page, cursor);
      }
      return job;
    },

    /**
     * The URL of a job's file: to show it or, with a file name as `downloadAs`, to save it under
     * that name. The file need not exist.
     *
     * @param {number} jobId
     * @param {string} objectUuid a key of object_uuid_names
     * @param {{ downloadAs?: string | null | undefined } & RequestOptions} [options]
     * @returns {Promise<ObjectUrl>}
     */
    objectUrl(jobId, objectUuid, { downloadAs, ...rest } = {}) {
      const query = { "job-id": jobId, "object-uuid": objectUuid, "download-as": downloadAs };
      return request("GET", "/jobs/get-object-url", query, rest);
    },

    /**
     * Delete a job with all its files. A job that does not exist is a success too.
     *
     * @param {number} jobId
     * @param {RequestOptions} [options]
     * @returns {Promise<void>}
     */
    async delete(jobId, options = {}) {
      await request("DELETE", "/jobs/delete", { "job-id": jobId }, options);
    },
  };
}

/**
 * A job's `date`, or null if there is none. `new Date(job.date)` is an Invalid Date in Safari.
 *
 * @param {string | null | undefined} text
 * @returns {Date | null}
 */
export function jobDate(text) {
  const form = /^(\d{4}-\d\d-(\d\d))[ T](\d\d:\d\d:\d\d)(?:(\.\d{3})\d*)?(?: UTC|Z)$/;
  const [, day, dayOfMonth, time, milliseconds = ""] = form.exec(text ?? "") ?? [];
  const date = new Date(`${day}T${time}${milliseconds}Z`);
  // Some browsers make March 1 of February 30.
  return date.getUTCDate() === Number(dayOfMonth) ? date : null;
}

/**
 * The cursor of the page after this one. Mocks that have one page repeat its cursor forever.
 *
 * @param {{ next_cursor?: string }} page
 * @param {string | undefined} cursor of this page
 */
function nextCursor({ next_cursor }, cursor) {
  if (cursor && next_cursor === cursor) throw new ApiError("The API repeats a page.", 200);
  return next_cursor;
}

/**
 * The seconds that Retry-After names, by a number or a date: at most a day, and 0 for none.
 *
 * @param {string | null} text
 */
function retrySeconds(text) {
  const seconds = Number(text) || (Date.parse(text ?? "") - Date.now()) / 1000;
  // A longer time-out would end at once: it has 32 bits.
  return seconds > 0 ? Math.min(seconds, 86400) : 0;
}

/**
 * Call onChunk whenever a part of the body has arrived, where fetch has streams.
 *
 * @param {Response} response
 * @param {() => void} onChunk
 */
async function watchBody(response, onChunk) {
  try {
    // A copy: SvelteKit notices only what text() reads.
    const reader = response.clone().body?.getReader();
    while (reader && !(await reader.read()).done) onChunk();
  } catch {
    // There are no copies here, or the body has failed, which its reader notices itself.
  }
}

/**
 * Call the listener when the signal aborts, or now if it has. Returns what removes the listener.
 *
 * @param {AbortSignal | null | undefined} signal
 * @param {() => void} listener
 */
function whenAborted(signal, listener) {
  if (signal?.aborted) listener();
  signal?.addEventListener("abort", listener);
  return () => signal?.removeEventListener("abort", listener);
}

/** @param {AbortSignal} signal */
function abortReason(signal) {
  return signal.reason ?? Object.assign(new Error("It was aborted."), { name: "AbortError" });
}

/**
 * The promise's result, or the signal's reason as an error if it aborts first.
 *
 * @template T
 * @param {T | Promise<T>} value
 * @param {AbortSignal | null | undefined} signal
 * @returns {Promise<T>}
 */
async function abortable(value, signal) {
  if (!signal) return value;
  let ignoreSignal = () => {};
  /** @type {Promise<never>} */
  const aborted = new Promise((_, reject) => {
    ignoreSignal = whenAborted(signal, () => reject(abortReason(signal)));
  });
  try {
    return await Promise.race([aborted, value]);
  } finally {
    ignoreSignal();
  }
}

/**
 * @param {number} seconds
 * @param {AbortSignal | null | undefined} signal
 */
async function sleep(seconds, signal) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    const pause = new Promise((resolve) => (timer = setTimeout(resolve, seconds * 1000)));
    await abortable(pause, signal);
  } finally {
    clearTimeout(timer);
  }
}
