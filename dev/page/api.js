/**
 * Calls the jobs API. Copy this file into your project: it needs fetch, and nothing else.
 *
 *     const api = jobsApi("https://….amazonaws.com/api", () => idToken);
 *     const { jobs, next_cursor } = await api.list({ limit: 20 });
 *
 * Every route may be asked again, DELETE too. So what passes by itself is asked again here, after
 * the time that the API names. Whatever else is no success is thrown, as an ApiError.
 */

/**
 * @typedef {object} Job
 * @property {number} job_id
 * @property {string | null} job_name
 * @property {string | null} date like "2020-01-01 12:00:00.000000000 UTC"
 * @property {number} total_size in bytes
 * @property {number} credits_spent
 * @property {string | null} status
 * @property {string} status_meaning what the status says to a person
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
 * @property {Record<string, string>} object_uuid_names each object's original file name
 * @property {Record<string, number>} media_length
 * @property {Record<string, string>} failed_to_process why objects could not be processed
 * @property {string | null} status
 */

/**
 * @typedef {object} JobList
 * @property {Job[]} jobs
 * @property {string} [next_cursor] where more follows
 * @property {string} etag
 */

/**
 * @typedef {object} WholeJob
 * @property {JobInfo} job_info
 * @property {Record<string, { full: string, min: string }>} results URLs of JSON files
 * @property {string} [next_cursor] not there: get() has put all results together
 * @property {string} etag
 */

/** What the API answered instead of a success, or that it did not answer. */
export class ApiError extends Error {
  /**
   * @param {string} message can be shown to a person
   * @param {number} status the HTTP status; 0 where there was no answer
   * @param {string} [parameter] what a 400 or a 404 is about, e.g. "job-id: number"
   */
  constructor(message, status, parameter) {
    super(message);
    this.status = status;
    this.parameter = parameter;
  }
}

const TRIES = 4;
// 503 is the API's own; the others are API Gateway's: too many requests, no answer, a late one.
const ASK_AGAIN = [429, 502, 503, 504];
// Where no Retry-After says otherwise.
const WAIT_SECONDS = 2;
// API Gateway ends a request after 29 seconds.
const TIMEOUT_MILLISECONDS = 35_000;

/**
 * The four routes, each a function that answers with the body.
 *
 * @param {string} baseUrl of the API, without a slash at its end
 * @param {() => string | Promise<string>} idToken gives the user's ID token, fresh for each request
 * @param {(seconds: number, why: string) => void} [onWait] told before the same is asked again
 */
export function jobsApi(baseUrl, idToken, onWait = () => {}) {
  /**
   * @param {string} method
   * @param {string} route
   * @param {Record<string, string | number | undefined>} query
   * @param {{ etag: string }} [previous]
   * @returns {Promise<any>}
   */
  async function call(method, route, query, previous) {
    const parameters = Object.entries(query)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
    for (let tries = 1; ; tries++) {
      const headers = new Headers({ Authorization: await idToken() });
      if (previous) headers.set("If-None-Match", previous.etag);
      const response = await send(`${baseUrl}${route}?${parameters.join("&")}`, {
        method,
        headers,
        // Else the browser's cache could answer, and hide the 304.
        cache: "no-store",
        signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
      });
      if (response.status === 304) return previous;
      const body = await response.json().catch((error) => {
        // Only the API itself answers every time in JSON, and a success is its own.
        if (response.ok) throw noAnswer(error);
        return {};
      });
      const etag = response.headers.get("ETag");
      if (response.ok) return etag ? { ...body, etag } : body;
      const message = body.message ?? `The API answered with status ${response.status}.`;
      if (tries === TRIES || !ASK_AGAIN.includes(response.status)) {
        throw new ApiError(message, response.status, body.affected_query_parameter);
      }
      const seconds = Number(response.headers.get("Retry-After")) || WAIT_SECONDS;
      onWait(seconds, message);
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }

  return {
    /**
     * The caller's jobs, newest first: all, or up to `limit` of them, which go on at `cursor`
     * (the `next_cursor` of the answer before). Give an earlier answer to the same request as
     * `previous`: where nothing has changed, it is returned itself.
     *
     * @param {{ limit?: number, cursor?: string, previous?: JobList }} [options]
     * @returns {Promise<JobList>}
     */
    list: ({ limit, cursor, previous } = {}) =>
      call("GET", "/jobs/list", { limit, cursor }, previous),

    /**
     * One job in full. Its URLs are good for an hour, if the API's settings say no other: keep
     * the job, not its URLs. `previous` is as in list.
     *
     * @param {number} jobId
     * @param {{ previous?: WholeJob }} [options]
     * @returns {Promise<WholeJob>}
     */
    async get(jobId, { previous } = {}) {
      const job = await call("GET", "/jobs/get", { "job-id": jobId }, previous);
      // The results of thousands of files come in several answers.
      while (job.next_cursor) {
        const query = { "job-id": jobId, cursor: job.next_cursor };
        const { results, next_cursor } = await call("GET", "/jobs/get", query);
        Object.assign(job.results, results);
        job.next_cursor = next_cursor;
      }
      return job;
    },

    /**
     * A URL of one of a job's files: to show it or, with a file name as `downloadAs`, to save it
     * under that name. The file need not exist.
     *
     * @param {number} jobId
     * @param {string} objectUuid a key of object_uuid_names
     * @param {{ downloadAs?: string }} [options]
     * @returns {Promise<string>}
     */
    async objectUrl(jobId, objectUuid, { downloadAs } = {}) {
      const query = { "job-id": jobId, "object-uuid": objectUuid, "download-as": downloadAs };
      return (await call("GET", "/jobs/get-object-url", query)).url;
    },

    /**
     * Delete a job with all its files. Where it is not there any more, that is a success too.
     *
     * @param {number} jobId
     * @returns {Promise<void>}
     */
    async delete(jobId) {
      await call("DELETE", "/jobs/delete", { "job-id": jobId });
    },
  };
}

/** @type {typeof fetch} */
async function send(...request) {
  try {
    return await fetch(...request);
  } catch (error) {
    throw noAnswer(error);
  }
}

/** @param {unknown} error why there is none, or not all of it */
function noAnswer(error) {
  const late = error instanceof DOMException && error.name === "TimeoutError";
  return new ApiError(late ? "The API did not answer in time." : "The API cannot be reached.", 0);
}
