import useSWR from "swr";
import { api } from "./amplify";

export function useJobs() {
  return useSWR("jobs", () => api.list(), { shouldRetryOnError: false });
}
