// The API's reference, logged in as the demo user so that requests can be tried.

import { logIn } from "../cognito.js";

const config = await (await fetch("../config.json")).json();
const ui = SwaggerUIBundle({
  dom_id: "#reference",
  url: "openapi.json",
  // Else the document is sent to a validator on the internet, unless the host is localhost.
  validatorUrl: null,
  tryItOutEnabled: true,
  deepLinking: true,
  async onComplete() {
    const token = await logIn(config.aws, config.client_id, config.email, config.password);
    ui.preauthorizeApiKey("Users", token);
  },
});
