/**
 * The ID token of a user of a Cognito user pool. Throws an Error whose message can be shown. If
 * the pool asks for more than a password, use a library such as AWS Amplify.
 */
export async function logIn(endpoint, clientId, email, password) {
  const response = await fetch(`${endpoint}/`, {
    method: "POST",
    headers: {
      "Content-Type": "application/x-amz-json-1.1",
      "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
    },
    body: JSON.stringify({
      ClientId: clientId,
      AuthFlow: "USER_PASSWORD_AUTH",
      AuthParameters: { USERNAME: email, PASSWORD: password },
    }),
  }).catch(() => {
    throw new Error("The user pool cannot be reached.");
  });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(body.message ?? `The user pool responded with status ${response.status}.`);
  }
  if (!body.AuthenticationResult) throw new Error(`The pool asks for ${body.ChallengeName}.`);
  return body.AuthenticationResult.IdToken;
}
