import type { Load } from "@sveltejs/kit";
import { jobsApi } from "jobs-api-client";

export const load: Load = async ({ fetch, parent }) => {
  const { idToken } = await parent(); // of your layout
  return jobsApi("https://….amazonaws.com/api", () => idToken, { fetch }).list({ limit: 20 });
};
