import type { Handle } from "@sveltejs/kit";

const READ_BY_THE_CLIENT = ["etag", "retry-after", "x-request-id"];

export const handle: Handle = ({ event, resolve }) =>
  resolve(event, { filterSerializedResponseHeaders: (name) => READ_BY_THE_CLIENT.includes(name) });
