import createClient from "openapi-fetch";
import { apiUrl, idToken } from "./amplify";
import type { paths } from "./jobs-api";

export const client = createClient<paths>({ baseUrl: apiUrl });
client.use({
  async onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${await idToken()}`);
  },
});

export const { data, error } = await client.GET("/jobs/list", {
  params: { query: { limit: 20 } },
});
