// The dialog that asks before a job is deleted.

import { create, find, findAll } from "./dom.js";
import { flashStatus, setStatus } from "./notices.js";
import { api, attempt } from "./service.js";

const dialog = find("#deletion");
const progress = find("progress", dialog);

export function confirmDeletion(jobId, name, files, onDeleted) {
  const rest = `”, ${files} and all results will be deleted permanently.`;
  find("#deletion-text").replaceChildren("“", create("bdi", {}, name), rest);
  find(".problem", dialog).replaceChildren();
  find(".confirm", dialog).onclick = async () => {
    setDeleting(true);
    setStatus("Deleting …");
    const deleted = await attempt(dialog, () => api.delete(jobId).then(() => true));
    setDeleting(false);
    // The dialog has its own.
    find(".problem button", dialog)?.remove();
    if (!deleted) return find(".confirm", dialog).focus();
    dialog.close();
    onDeleted();
    flashStatus(`“${name}” is deleted.`);
  };
  setDeleting(false);
  dialog.showModal();
  find(".cancel", dialog).focus();
}

function setDeleting(on) {
  progress.hidden = !on;
  for (const button of findAll("button", dialog)) button.disabled = on;
}

// Escape does not close the dialog while a deletion is running.
dialog.oncancel = (event) => progress.hidden || event.preventDefault();
