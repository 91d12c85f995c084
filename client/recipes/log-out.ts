import { signOut } from "aws-amplify/auth";

export async function logOut() {
  for (const name of await caches.keys()) if (name.startsWith("jobs-")) await caches.delete(name);
  await signOut();
}
