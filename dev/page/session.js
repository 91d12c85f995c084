// The user's ID token, which the tabs of this page share until the last one is closed.

import { logIn } from "./cognito.js";
import { find } from "./dom.js";
import { showProblem } from "./notices.js";

export const config = await (await fetch("config.json")).json();
const form = find("#log-in");
const problem = find(".problem", form);
// A new tab has an empty sessionStorage, so it asks the others; localStorage would outlive them.
const tabs = new BroadcastChannel("session");

export const token = () => sessionStorage.getItem("token");

/** Leave nothing of the user's, here and in the other tabs: a new document has none of it. */
export function endSession(notice = "Your session has ended. Please log in again.") {
  tabs.postMessage({ ended: token() });
  sessionStorage.removeItem("token");
  // With it this tab does not ask the others.
  sessionStorage.setItem("notice", notice);
  location.reload();
}

/** Call `show` as soon as there is a token: now, from another tab, or by the form. */
export function startSession(show) {
  const begin = (newToken) => {
    sessionStorage.setItem("token", newToken);
    sessionStorage.removeItem("notice");
    form.hidden = true;
    find("#user").hidden = false;
    find("#who").textContent = emailOf(newToken);
    show();
  };
  const notice = sessionStorage.getItem("notice");
  tabs.onmessage = ({ data }) => {
    if (data.wanted && token()) tabs.postMessage({ token: token() });
    if (data.token && !token() && notice === null) begin(data.token);
    if (data.ended && data.ended === token()) endSession();
  };
  if (token()) return begin(token());
  if (notice === null) tabs.postMessage({ wanted: true });
  else if (notice) showProblem(problem, { message: notice });
  document.title = "Log in · Jobs";
  const { email, password } = form;
  [email.value, password.value] = [config.email, config.password];
  form.onsubmit = (event) => {
    event.preventDefault();
    problem.replaceChildren();
    const result = logIn(config.aws, config.client_id, email.value, password.value);
    result.then(begin, (error) => showProblem(problem, error));
  };
  form.hidden = false;
  email.focus();
}

function emailOf(idToken) {
  try {
    const claims = idToken.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(claims)).email ?? "";
  } catch {
    return "";
  }
}

find("#log-out").onclick = () => {
  // It has a search, or a job's number, in it.
  history.replaceState(null, "", location.pathname);
  endSession("");
};
