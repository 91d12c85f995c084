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
export function jobsApi(baseUrl: string, idToken: IdToken, options?: {
    onWait?: OnWait | undefined;
    timeoutSeconds?: number | undefined;
    fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
}): {
    /**
     * The user's jobs, newest first: all of them, or up to `limit`. The next ones follow at
     * `cursor`, the `next_cursor` of the response before. Pass an earlier response to the same
     * request as `previous`: it is returned itself if nothing has changed.
     */
    list: ({ limit, cursor, ...rest }?: {
        limit?: number | null | undefined;
        cursor?: string | null | undefined;
        previous?: JobList | null | undefined;
    } & RequestOptions) => Promise<JobList>;
    /**
     * All the user's jobs, one after the other, newest first.
     *
     * @param {{ limit?: number | null | undefined } & RequestOptions} [options] limit: jobs per
     *   request; without it one request gets them all, up to 6 MB
     * @returns {AsyncGenerator<Job, void, undefined>}
     */
    jobs(options?: {
        limit?: number | null | undefined;
    } & RequestOptions): AsyncGenerator<Job, void, undefined>;
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
    get(jobId: number, { include, previous, ...rest }?: {
        include?: "object-urls" | null | undefined;
        previous?: WholeJob | null | undefined;
    } & RequestOptions): Promise<WholeJob>;
    /**
     * The URL of a job's file: to show it or, with a file name as `downloadAs`, to save it under
     * that name. The file need not exist.
     *
     * @param {number} jobId
     * @param {string} objectUuid a key of object_uuid_names
     * @param {{ downloadAs?: string | null | undefined } & RequestOptions} [options]
     * @returns {Promise<ObjectUrl>}
     */
    objectUrl(jobId: number, objectUuid: string, { downloadAs, ...rest }?: {
        downloadAs?: string | null | undefined;
    } & RequestOptions): Promise<ObjectUrl>;
    /**
     * Delete a job with all its files. A job that does not exist is a success too.
     *
     * @param {number} jobId
     * @param {RequestOptions} [options]
     * @returns {Promise<void>}
     */
    delete(jobId: number, options?: RequestOptions): Promise<void>;
};
/**
 * A job's `date`, or null if there is none. `new Date(job.date)` is an Invalid Date in Safari.
 *
 * @param {string | null | undefined} text
 * @returns {Date | null}
 */
export function jobDate(text: string | null | undefined): Date | null;
/** An error response of the API, or no response at all. */
export class ApiError extends Error {
    /**
     * @param {string} message can be shown to the user
     * @param {number} status the HTTP status; 0 without a response
     * @param {{ parameter?: string | undefined, requestId?: string | undefined, cause?: unknown }}
     *   [details] the parameter that a 400 or 404 is about, e.g. "job-id: number"; the request id to
     *   find the request in the API's log by
     */
    constructor(message: string, status: number, { parameter, requestId, cause }?: {
        parameter?: string | undefined;
        requestId?: string | undefined;
        cause?: unknown;
    });
    status: number;
    parameter: string | undefined;
    requestId: string | undefined;
    /** A plain object, for logs and for stores like Redux. */
    toJSON(): {
        name: string;
        message: string;
        status: number;
        parameter: string | undefined;
        requestId: string | undefined;
    };
}
export type KnownStatus = "uploading" | "queued" | "processing" | "success" | "success_credits_restored" | "success_credits_not_restored" | "failed_requeued" | "failed" | "failed_critical";
export type JobStatus = KnownStatus | `processing_${number}%` | (string & {});
export type JobsApi = ReturnType<typeof jobsApi>;
export type Job = {
    job_id: number;
    job_name: string | null;
    /**
     * like "2020-01-01 12:00:00.000000000 UTC", which Safari's Date does
     * not understand: use jobDate
     */
    date: string | null;
    /**
     * in bytes
     */
    total_size: number;
    credits_spent: number;
    status: JobStatus | null;
    /**
     * the status in words that can be shown
     */
    status_meaning: string;
    /**
     * how much of the job is done, in percent, while it is processed
     */
    progress: number | null;
    /**
     * whether the status is final
     */
    finished: boolean;
};
export type JobDetails = {
    user_id: string;
    email: string | null;
    /**
     * the original file name of each object
     */
    object_uuid_names: Record<string, string>;
    media_length: Record<string, number>;
    /**
     * why objects could not be processed
     */
    failed_to_process: Record<string, string>;
};
export type JobInfo = Job & JobDetails;
export type JobList = {
    jobs: Job[];
    /**
     * present when more jobs follow
     */
    next_cursor?: string;
    etag: string;
};
export type WholeJob = {
    job_info: JobInfo;
    /**
     * URLs of JSON files
     */
    results: Record<string, {
        full: string;
        min: string;
    }>;
    /**
     * the URL of each object; with `include`
     */
    object_urls?: Record<string, string>;
    /**
     * when the URLs end, like "2026-01-01T13:05:00Z"
     */
    expires_at: string;
    etag: string;
};
export type ObjectUrl = {
    url: string;
    /**
     * when the URL ends, like "2026-01-01T13:05:00Z"
     */
    expires_at: string;
};
/**
 * Gives the user's ID token, before each request. `refused` is true after a 401: then give a fresh
 * token, or the same one (or none) to have the 401 thrown.
 */
export type IdToken = (request: {
    refused: boolean;
}) => string | null | undefined | Promise<string | null | undefined>;
/**
 * Called before each retry, with the seconds until then, and the reason, which can be shown.
 */
export type OnWait = (seconds: number, message: string) => void;
/**
 * Options of every request. When `signal` aborts, its reason is thrown, as fetch does; or an Error
 * named AbortError where signals have no reason.
 */
export type RequestOptions = {
    signal?: AbortSignal | null | undefined;
    /**
     * instead of the client's own
     */
    onWait?: OnWait | undefined;
};
