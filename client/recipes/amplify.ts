import { Amplify } from "aws-amplify";
import { fetchAuthSession } from "aws-amplify/auth";
import { jobsApi } from "jobs-api-client";

Amplify.configure({
  Auth: {
    Cognito: {
      userPoolId: "eu-central-1_…", // the stack's output UserPoolId
      userPoolClientId: "…", // UserPoolClientId
      // userPoolEndpoint: "http://127.0.0.1:8002", // only for make run: COGNITO_ENDPOINT
    },
  },
});

export async function idToken({ refused } = { refused: false }) {
  const { tokens } = await fetchAuthSession({ forceRefresh: refused });
  return tokens?.idToken?.toString();
}

export const apiUrl = "https://….amazonaws.com/api"; // EndpointURL without its last slash
export const api = jobsApi(apiUrl, idToken);
