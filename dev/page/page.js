import { find } from "./dom.js";
import { updateTimes } from "./format.js";
import { showJob } from "./job.js";
import { showList } from "./list.js";
import { setStatus } from "./notices.js";
import { leaveView } from "./service.js";
import { startSession } from "./session.js";

function showCurrentView() {
  leaveView();
  const jobId = Number(/^#\/jobs\/(\d+)$/.exec(location.hash)?.[1]);
  find("#list").hidden = Boolean(jobId);
  find("#job").hidden = !jobId;
  find("#deletion").close();
  setStatus("");
  if (jobId) showJob(jobId);
  else showList();
}

// The list finds its place by itself.
history.scrollRestoration = "manual";
setInterval(updateTimes, 10_000);
// The browser's back button may lead to the page as it was before a log-out.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
startSession(() => {
  addEventListener("hashchange", showCurrentView);
  showCurrentView();
});
