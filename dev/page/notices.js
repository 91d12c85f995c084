import { create, find } from "./dom.js";

const FLASH_SECONDS = 6;

let timer;

/** An error whose message can be shown, as that of an ApiError. */
export class PageError extends Error {}

/** Show what is going on, and have screen readers announce it: in the dialog while it is open. */
export function setStatus(text) {
  clearTimeout(timer);
  timer = undefined;
  const { open } = find("#deletion");
  find("#status").textContent = open ? "" : text;
  find("#deletion .note").textContent = open ? text : "";
}

/** Show what was done, for a few seconds. */
export function flashStatus(text) {
  setStatus(text);
  timer = setTimeout(setStatus, FLASH_SECONDS * 1000, "");
}

export function endWait() {
  if (!timer) setStatus("");
}

/** Show in the slot what went wrong; `retry` is what "Try again" does. */
export function showProblem(slot, { message, requestId }, retry) {
  slot.replaceChildren(create("p", {}, message));
  if (requestId) slot.append(create("p", { className: "note" }, `Request id: ${requestId}`));
  if (!retry) return;
  const onclick = () => {
    // The button goes.
    (find("h1", slot.parentElement) ?? find("a", slot.parentElement)).focus();
    retry();
  };
  slot.append(create("button", { type: "button", onclick }, "Try again"));
}
