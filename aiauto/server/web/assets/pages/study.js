// A study: its definition, its batches and its trials.

import { call } from "../connect.js";
import { badge, liveBar } from "../counts.js";
import { ask } from "../dialog.js";
import { h, hideUntilKnown, put, update } from "../dom.js";
import { time } from "../format.js";
import { title } from "../frame.js";
import { t } from "../language.js";
import { again } from "../live.js";
import { facts, section } from "../table.js";
import { pairs, trialList } from "../trials.js";
import { batchTable } from "./batches.js";
import { best, directions, every } from "./studies.js";

const TOLD_ELSEWHERE = ["pod_name", "trialbatch_name", "artifact_id", "artifact_removed"];

export function show(main, name) {
  title(name);
  const phase = h("span");
  const about = h("div");
  const progress = liveBar();
  const batches = batchTable({ ofStudy: true });
  const trials = trialList({ studyName: name }, (item) => {
    location.href = `/trialbatch/${encodeURIComponent(item.trialbatchName)}#log=${item.trial.trialNumber ?? 0}`;
  });
  const dashboard = h("a", { class: "button", href: "/dashboard" }, t("openDashboard"));
  const remove = h("button", { type: "button", class: "danger", on: { click: () => forget(name) } }, t("deleteStudy"));
  const buttons = h("div", { class: "buttons" }, dashboard, remove);
  const parts = [
    section(t("progress"), progress.element, about),
    section(t("batches"), batches.element),
    trials.element,
  ];
  const known = hideUntilKnown(buttons, ...parts);
  put(main,
    h("p", { class: "path" }, h("a", { href: "/study" }, t("studies"))),
    h("div", { class: "heading" }, h("h1", {}, name), phase, buttons),
    parts);
  let told = "";
  again(async () => {
    // One that was made in the Optuna storage is known to the rest of the server from then on.
    const { studies = [] } = await call("AIAutoService/ListStudies", { studyName: name, includeBest: true });
    const { trialBatches = [] } = await call("AIAutoService/ListTrialBatchesByStudy", { studyName: name });
    const [study] = studies;
    progress.show(study);
    if (told !== (told = JSON.stringify(study))) {
      update(phase, badge(study.phase));
      update(about, definition(study));
      dashboard.href = `/dashboard/studies/${study.studyId ?? 0}`;
    }
    known();
    batches.show(trialBatches.reverse());
    // Trials that nobody's batch runs are noticed, too, if later.
    await trials.refresh();
    return every(studies);
  });
}

function definition(study) {
  const trial = study.bestTrial;
  const attributes = Object.entries(trial?.userAttrs ?? {}).filter(([name]) => !TOLD_ELSEWHERE.includes(name));
  const number = trial ? ` (${t("trialNumber", { number: trial.trialNumber ?? 0 })})` : "";
  return facts([
    [t("best"), h("b", {}, best(study)), number],
    study.bestParams ? [t("bestParams"), h("span", { class: "params" }, pairs(study.bestParams))] : null,
    [t("direction"), directions(study)],
    [t("sampler"), kind(study.samplerJson)],
    [t("pruner"), kind(study.prunerJson)],
    [t("created"), time(study.creationTimestamp)],
    attributes.length ? [t("attributes"), h("span", { class: "params" }, pairs(Object.fromEntries(attributes)))] : null,
  ]);
}

/** The class of a sampler or pruner; the rest is for programs. */
function kind(json) {
  try {
    return JSON.parse(json).cls ?? t("default");
  } catch {
    return t("default");
  }
}

async function forget(name) {
  const done = await ask({
    title: t("deleteStudyTitle", { name }), text: t("deleteStudyText"), yes: t("deleteStudy"), typed: name,
    work: () => call("AIAutoService/DeleteStudy", { name }),
  });
  if (done) location.href = "/study";
}
