import { UserManager } from "oidc-client-ts";
import { jobsApi } from "jobs-api-client";

export const users = new UserManager({
  authority: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_…", // UserPoolId
  client_id: "…", // of the new client
  redirect_uri: "https://app.example.com/",
  scope: "openid email",
});

export const api = jobsApi("https://….amazonaws.com/api", async ({ refused }) => {
  const user = refused ? await users.signinSilent().catch(() => null) : await users.getUser();
  return user?.id_token; // an access_token gets a 401
});
