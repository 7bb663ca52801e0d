// What goes on: the workspace in short, batches that run, and the newest studies.

import { call } from "../connect.js";
import { h, put, update } from "../dom.js";
import { title } from "../frame.js";
import { t } from "../language.js";
import { again } from "../live.js";
import { section } from "../table.js";
import { batchTable } from "./batches.js";
import { every, studyTable } from "./studies.js";
import { firstSteps, usage } from "./workspace.js";

const NEWEST = 5;

export function show(main) {
  title(t("overview"));
  const workspace = h("div");
  const batches = batchTable({ empty: t("nothingRuns") });
  const studies = studyTable();
  put(main, h("h1", {}, t("overview")),
    workspace,
    section(t("running"), batches.element),
    section(t("recentStudies"), studies.element, h("p", {}, h("a", { href: "/study" }, t("allStudies")))));
  let told = "";
  again(async () => {
    const [{ workspaces = [] }, { trialBatches = [] }] = await Promise.all([
      call("AIAutoService/ListWorkspaces"), call("AIAutoService/ListTrialBatches"),
    ]);
    if (told !== (told = JSON.stringify(workspaces))) {
      const [found] = workspaces;
      update(workspace, section(found ? found.name : t("firstSteps"), found ? usage(found) : firstSteps()));
    }
    batches.show(trialBatches.filter(({ status }) => ["Running", "Pending"].includes(status.phase)).reverse());
    return every(trialBatches);
  });
  again(async () => {
    // The best of all studies costs the server more than the rest.
    const found = (await call("AIAutoService/ListStudies", { includeBest: true })).studies ?? [];
    studies.show(found.reverse().slice(0, NEWEST));
    return 2 * every(found);
  });
}
