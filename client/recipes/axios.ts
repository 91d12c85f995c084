import axios from "axios";
import type { JobList } from "jobs-api-client";
import { apiUrl, idToken } from "./amplify";

export const http = axios.create({ baseURL: apiUrl });
http.interceptors.request.use(async (config) => {
  if (http.getUri(config).startsWith(`${apiUrl}/`)) {
    config.headers.Authorization = `Bearer ${await idToken()}`;
  }
  return config;
});

export const { data } = await http.get<JobList>("/jobs/list", { params: { limit: 20 } });
