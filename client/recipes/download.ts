import { api } from "./amplify";

export async function download(jobId: number, uuid: string, name: string) {
  const { url } = await api.objectUrl(jobId, uuid, { downloadAs: name });
  const response = await fetch(url); // if S3 has an error, the link would leave the page
  await response.body?.cancel();
  if (!response.ok) throw new Error("This file does not exist.");
  Object.assign(document.createElement("a"), { href: url }).click();
}
