/**
 * Log in to a Cognito user pool with an e-mail address and a password; the ID token.
 *
 * What a pool may ask beside the password (a code, a new password) is left to a library such as
 * AWS Amplify. Throws an Error whose message can be shown.
 *
 * @param {string} endpoint e.g. https://cognito-idp.eu-central-1.amazonaws.com
 * @param {string} clientId of the pool's client
 * @param {string} email
 * @param {string} password
 * @returns {Promise<string>}
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
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  if (!answer.AuthenticationResult) throw new Error(`The pool asks for ${answer.ChallengeName}.`);
  return answer.AuthenticationResult.IdToken;
}
