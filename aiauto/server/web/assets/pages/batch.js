// A batch as it runs: counts, workers, trials, log.

import { call, stream } from "../connect.js";
import { badge, fold, inWords, liveBar } from "../counts.js";
import { ask } from "../dialog.js";
import { h, hideUntilKnown, put, update } from "../dom.js";
import { count, time } from "../format.js";
import { failed, tell, title } from "../frame.js";
import { t, word } from "../language.js";
import { again, follow, seldom } from "../live.js";
import { logView } from "../logs.js";
import { facts, section, table } from "../table.js";
import { trialList } from "../trials.js";
import { original } from "../trouble.js";
import { best } from "./studies.js";

const TRIALS_MS = 1_500;
const WORKERS_MS = 3_000;
// What the stream of counts does not tell of: parameters and duration of trials that run.
const UNTOLD_MS = 10_000;
// A screen reader is told of the counts so often at most.
const TELLING_MS = 15_000;

export function show(main, name) {
  title(name);
  const phase = h("span");
  const about = h("div");
  const trouble = h("div");
  const progress = liveBar();
  const log = logView(name);
  const trials = trialList({ trialbatchName: name }, (item) => log.open(item.trial.trialNumber ?? 0));
  const workers = workerTable();
  const cancel = h("button", { type: "button", hidden: true, on: { click: () => end(name) } }, t("cancelBatch"));
  const remove = h("button", { type: "button", class: "danger", on: { click: () => forget(name, study) } }, t("deleteBatch"));
  const parent = h("a", { href: "/study" }, t("studies"));
  let study = "";
  const asked = /^#log=(\d+)$/.exec(location.hash);
  let over = false;
  let status = {};
  const buttons = h("div", { class: "buttons" }, cancel, remove);
  const parts = [
    section(t("progress"), progress.element, trouble, about),
    section(t("workers"), workers.element),
    trials.element,
    log.element,
  ];
  const known = hideUntilKnown(buttons, ...parts);
  put(main,
    h("p", { class: "path" }, h("a", { href: "/trialbatch" }, t("batches")), " · ", parent),
    h("div", { class: "heading" }, h("h1", {}, name), phase, buttons),
    parts);

  const pods = again(async () => {
    const { pods: found = [] } = await call("AIAutoService/ListTrialBatchPods", { trialbatchName: name });
    workers.show(found);
    // Workers learn that their batch is over, and end after it.
    return over && found.every(hasEnded) ? null : WORKERS_MS;
  });
  const refresh = again(async () => {
    await trials.refresh();
    return over ? null : UNTOLD_MS;
  });
  const refreshSeldom = seldom(refresh.now, TRIALS_MS);
  const tellSeldom = seldom(() => tell(inWords(status)), TELLING_MS);

  again(async () => {
    const { trialBatch } = await call("AIAutoService/GetTrialBatch", { name });
    study = trialBatch.spec.studyName;
    parent.href = `/study/${encodeURIComponent(study)}`;
    parent.textContent = study;
    put(about, h("div"), definition(trialBatch));
    progress.show(trialBatch.status);
    known();
    if (asked) log.open(Number(asked[1]));
    watch();
    return null;
  });

  function watch() {
    follow((signal) => stream("ProgressService/WatchTrialBatch", { trialbatchName: name }, signal), (message) => {
      status = message.status;
      over = isOver(status.phase);
      progress.show(status);
      update(phase, badge(status.phase));
      cancel.hidden = over;
      update(about.firstChild, facts([
        [t("best"), h("b", {}, best(message))],
        status.stopReason ? [t("ended"), word("reason", status.stopReason)] : null,
      ]));
      update(trouble, troubles(missing(status), status.lastError));
      refreshSeldom();
      tellSeldom();
    }).done.then(() => pods.now());
  }
}

const isOver = (phase) => ["Succeeded", "Failed"].includes(phase);

const hasEnded = (pod) => isOver(pod.phase);

/** What the server says of workers that can't start yet. */
const missing = ({ conditions = [] }) => conditions.find(({ type }) => type === "TRIAL_BATCH_CONDITION_PODS_RUNNING")?.message;

/** What stands in a batch's way. */
const troubles = (waits, lastError) => [
  waits ? h("div", { class: "hint" }, t("workersMissing"), original(waits)) : null,
  lastError ? fold(t("lastError"), lastError, { class: "trouble" }) : null,
];

function definition({ spec, creationTimestamp }) {
  const limit = (seconds) => t("seconds", { s: count(seconds) });
  const resources = (found) => Object.entries(found ?? {}).map(([name, size]) => `${name} ${size}`).join(", ");
  return facts([
    [t("trialsAsked"), count(spec.nTrials)],
    [t("workers"), count(spec.parallelism)],
    [t("created"), time(creationTimestamp)],
    [t("image"), spec.runtimeImage || t("default")],
    resources(spec.resourcesRequests) ? [t("requests"), resources(spec.resourcesRequests)] : null,
    resources(spec.resourcesLimits) ? [t("limits"), resources(spec.resourcesLimits)] : null,
    spec.useGpu ? [t("gpu"), t("yes")] : null,
    spec.timeoutSeconds ? [t("timeout"), limit(spec.timeoutSeconds)] : null,
    spec.trialTimeoutSeconds ? [t("trialTimeout"), limit(spec.trialTimeoutSeconds)] : null,
    spec.maxRetries ? [t("maxRetries"), count(spec.maxRetries)] : null,
    spec.patience ? [t("patience"), count(spec.patience)] : null,
  ]);
}

function workerTable() {
  return table({
    label: t("workers"),
    empty: t("noWorkers"),
    key: (pod) => pod.name,
    columns: [
      { title: t("name"), kind: "head", fill: (pod) => pod.name },
      { title: t("state"), fill: (pod) => badge(pod.phase) },
      { title: t("restarts"), kind: "number", fill: (pod) => count(pod.restartCount) },
      { title: t("machine"), fill: (pod) => pod.nodeName || "–" },
      { title: t("started"), fill: (pod) => time(pod.startTime) },
      { title: t("reason"), fill: (pod) => [word("worker", pod.reason ?? ""), pod.message && pod.message !== pod.reason ? fold(t("details"), pod.message) : null] },
    ],
  });
}

async function end(name) {
  try {
    await ask({
      title: t("cancelBatchTitle", { name }), text: t("cancelBatchText"), yes: t("cancelBatch"),
      work: () => call("AIAutoService/CancelTrialBatch", { name }),
    });
  } catch (error) {
    failed(error);
  }
}

async function forget(name, study) {
  const done = await ask({
    title: t("deleteBatchTitle", { name }), text: t("deleteBatchText"), yes: t("deleteBatch"),
    work: () => call("AIAutoService/DeleteTrialBatch", { name }),
  });
  if (done) location.href = study ? `/study/${encodeURIComponent(study)}` : "/trialbatch";
}
