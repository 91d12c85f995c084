import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import type { WholeJob } from "jobs-api-client";
import { api } from "./amplify";

export function useJobs() {
  return useInfiniteQuery({
    queryKey: ["jobs"],
    queryFn: ({ pageParam, signal }) => api.list({ limit: 50, cursor: pageParam, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  });
}

// One job, loaded again every three seconds until it is finished, while the page is visible.
export function useJob(jobId: number) {
  const client = useQueryClient();
  const queryKey = ["job", jobId];
  return useQuery({
    queryKey,
    queryFn: ({ signal }) => {
      const previous = client.getQueryData<WholeJob>(queryKey);
      return api.get(jobId, { include: "object-urls", previous, signal });
    },
    refetchInterval: ({ state }) => (state.data?.job_info.finished === false ? 3000 : false),
  });
}
