import { createApi, fakeBaseQuery } from "@reduxjs/toolkit/query/react";
import { ApiError, type JobList } from "jobs-api-client";
import { api } from "./amplify";

export const jobs = createApi({
  baseQuery: fakeBaseQuery<ReturnType<ApiError["toJSON"]>>(),
  endpoints: (build) => ({
    list: build.query<JobList, void>({
      async queryFn(_, { signal }) {
        try {
          return { data: await api.list({ signal }) };
        } catch (error) {
          if (error instanceof ApiError) return { error: error.toJSON() };
          throw error;
        }
      },
    }),
  }),
});
export const { useListQuery } = jobs;
