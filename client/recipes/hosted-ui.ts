import { UserManager } from "oidc-client-ts";
import { jobsApi } from "jobs-api-client";

export const users = new UserManager({
  authority: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_…", // UserPoolId
  client_id: "…", // of the new client
  redirect_uri: "https://app.example.com/",
  scope: "openid email",
});

export const api = jobsApi("https://….amazonaws.com/api", async ({ refused }) => {
  let user = await users.getUser();
  // Without a refresh token it would wait ten seconds for a frame, which Cognito forbids.
  if (refused && user?.refresh_token) user = await users.signinSilent().catch(() => null);
  return user?.id_token; // an access_token gets a 401
});
