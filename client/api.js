/**
 * A client of the jobs API, without dependencies. Install this folder by npm, or copy this file and
 * api.d.ts with its types into your project.
 *
 *     const api = jobsApi("https://….amazonaws.com/api", () => idToken);
 *     const { jobs, next_cursor } = await api.list({ limit: 20 });
 *
 * Every request can be repeated safely, DELETE too. Transient errors (429, 502, 503, 504, a lost
 * connection) are therefore retried up to three times, after the time that the API names. All other
 * errors are thrown as an ApiError. At most six requests run at a time; the others wait.
 */

/**
 * @typedef {object} Job
 * @property {number} job_id
 * @property {string | null} job_name
 * @property {string | null} date like "2020-01-01 12:00:00.000000000 UTC"
 * @property {number} total_size in bytes
 * @property {number} credits_spent
 * @property {string | null} status
 * @property {string} status_meaning the status in words that can be shown
 * @property {number | null} progress how much of the job is done, in percent, while it is processed
 * @property {boolean} finished whether the status is final
 */

/**
 * @typedef {object} JobInfo
 * @property {string} user_id
 * @property {number} job_id
 * @property {string | null} job_name
 * @property {string | null} date
 * @property {number} total_size in bytes
 * @property {number} credits_spent
 * @property {string | null} email
 * @property {Record<string, string>} object_uuid_names the original file name of each object
 * @property {Record<string, number>} media_length
 * @property {Record<string, string>} failed_to_process why objects could not be processed
 * @property {string | null} status
 * @property {string} status_meaning
 * @property {number | null} progress
 * @property {boolean} finished
 */

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
 * Called before each retry.
 *
 * @callback OnWait
 * @param {number} seconds until the retry
 * @param {string} message why; can be shown
 * @returns {void}
 */

/**
 * Options of every request. When `signal` aborts, its reason is thrown, as fetch does.
 *
 * @typedef {object} RequestOptions
 * @property {AbortSignal | undefined} [signal]
 * @property {OnWait | undefined} [onWait] instead of the client's own
 */

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
}

const MAX_TRIES = 4;
const MAX_PARALLEL = 6;
// 503 comes from the API; the others from API Gateway: too many requests, no response, a late one.
const TRANSIENT = [429, 502, 503, 504];
// API Gateway ends a request after 29 seconds.
const TIMEOUT_SECONDS = 35;
// Browsers revalidate their HTTP cache by themselves. Node has none.
const HAS_HTTP_CACHE = "window" in globalThis || "WorkerGlobalScope" in globalThis;

/**
 * @param {string} baseUrl of the API
 * @param {IdToken} idToken
 * @param {{ onWait?: OnWait | undefined, timeoutSeconds?: number | undefined }} [options]
 *   timeoutSeconds: for one try, without the waits between tries
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
   * @param {Record<string, string | number | undefined>} query
   * @param {RequestOptions & { previous?: { etag: string } | undefined }} requestOptions
   * @returns {Promise<any>}
   */
  async function request(method, route, query, { signal, onWait = options.onWait, previous }) {
    const parameters = Object.entries(query)
      .filter(([, value]) => value !== undefined)
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
   * @param {{ etag: string } | undefined} previous
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<{ body?: any, error?: ApiError, retryAfter?: number }>}
   */
  async function send(method, url, token, previous, signal) {
    const headers = new Headers();
    if (token) headers.set("Authorization", token);
    // In a browser this header, or cache: "no-store", would cost a preflight before each request.
    if (previous && !HAS_HTTP_CACHE) headers.set("If-None-Match", previous.etag);
    const timeout = AbortSignal.timeout(timeoutSeconds * 1000);
    const abortSignal = signal ? AbortSignal.any([signal, timeout]) : timeout;
    let response, text;
    try {
      response = await fetch(url, { method, headers, signal: abortSignal });
      const etag = response.headers.get("ETag");
      if (previous && (response.status === 304 || (response.ok && etag === previous.etag))) {
        response.body?.cancel().catch(() => {});
        return { body: previous };
      }
      text = await response.text();
    } catch (cause) {
      signal?.throwIfAborted();
      if (timeout.aborted) {
        return { error: new ApiError("The API did not respond in time.", 0, { cause }) };
      }
      return { error: new ApiError("The API cannot be reached.", 0, { cause }), retryAfter: 0 };
    }
    const { status } = response;
    const requestId = response.headers.get("X-Request-Id") ?? undefined;
    let body, cause;
    try {
      body = JSON.parse(text);
    } catch (error) {
      cause = error;
    }
    if (response.ok && cause) {
      // For example a web server that gives its start page for every path.
      return { error: new ApiError("The response is not the API's.", status, { requestId, cause }) };
    }
    if (response.ok) {
      const etag = response.headers.get("ETag");
      return { body: etag ? { ...body, etag } : body };
    }
    const message = body?.message ?? `The API responded with status ${status}.`;
    const parameter = body?.affected_query_parameter;
    const error = new ApiError(message, status, { parameter, requestId, cause });
    if (!TRANSIENT.includes(status)) return { error };
    return { error, retryAfter: Number(response.headers.get("Retry-After")) || 0 };
  }

  /**
   * @param {{ limit?: number | undefined, cursor?: string | undefined,
   *   previous?: JobList | undefined } & RequestOptions} [options]
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
     * @param {{ limit?: number | undefined } & RequestOptions} [options] limit: jobs per request
     * @returns {AsyncGenerator<Job, void, undefined>}
     */
    async *jobs({ limit = 1000, ...rest } = {}) {
      /** @type {string | undefined} */
      let cursor;
      do {
        const page = await list({ limit, cursor, ...rest });
        yield* page.jobs;
        cursor = page.next_cursor;
      } while (cursor);
    },

    /**
     * One job in full; with `include: "object-urls"` also the URL of each of its files. URLs end at
     * `expires_at` or when the credentials that signed them end, so do not store them. `previous`
     * is as in list.
     *
     * @param {number} jobId
     * @param {{ include?: "object-urls" | undefined, previous?: WholeJob | undefined }
     *   & RequestOptions} [options]
     * @returns {Promise<WholeJob>}
     */
    async get(jobId, { include, previous, ...rest } = {}) {
      const query = { "job-id": jobId, include };
      const job = await request("GET", "/jobs/get", query, { previous, ...rest });
      // A job of thousands of files comes in several responses.
      while (job.next_cursor) {
        const page = { ...query, cursor: job.next_cursor };
        const { results, object_urls, next_cursor } = await request("GET", "/jobs/get", page, rest);
        Object.assign(job.results, results);
        if (object_urls) Object.assign(job.object_urls, object_urls);
        job.next_cursor = next_cursor;
      }
      delete job.next_cursor;
      return job;
    },

    /**
     * The URL of a job's file: to show it or, with a file name as `downloadAs`, to save it under
     * that name. The file need not exist.
     *
     * @param {number} jobId
     * @param {string} objectUuid a key of object_uuid_names
     * @param {{ downloadAs?: string | undefined } & RequestOptions} [options]
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
 * The promise's result, or the signal's reason as an error if it aborts first.
 *
 * @template T
 * @param {T | Promise<T>} value
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T>}
 */
async function abortable(value, signal) {
  if (!signal) return value;
  let abort = () => {};
  /** @type {Promise<never>} */
  const aborted = new Promise((_, reject) => {
    abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
  });
  try {
    return await Promise.race([aborted, value]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/**
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 */
async function sleep(seconds, signal) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    await abortable(new Promise((resolve) => (timer = setTimeout(resolve, seconds * 1000))), signal);
  } finally {
    clearTimeout(timer);
  }
}
