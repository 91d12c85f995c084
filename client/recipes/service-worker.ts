declare const self: ServiceWorkerGlobalScope;
export {};

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const isFile = event.request.destination === "image" && url.searchParams.has("X-Amz-Signature");
  if (isFile) event.respondWith(storedFile(event, url.origin + url.pathname));
});

async function storedFile(event: FetchEvent, key: string) {
  // A key ends in <userId>/<jobId>/<file>.
  const cache = await caches.open(`jobs-${key.split("/").slice(0, -2).join("/")}`);
  const stored = await cache.match(key);
  if (stored) return stored;
  const response = await fetch(event.request);
  // An opaque response is not ok.
  if (response.ok) event.waitUntil(cache.put(key, response.clone()));
  return response;
}
