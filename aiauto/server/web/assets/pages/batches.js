// All batches.

import { call } from "../connect.js";
import { badge, bar } from "../counts.js";
import { h, put } from "../dom.js";
import { count, time } from "../format.js";
import { title } from "../frame.js";
import { t } from "../language.js";
import { again } from "../live.js";
import { table } from "../table.js";
import { every } from "./studies.js";

/** A table of batches; `ofStudy` where all are of one study. */
export function batchTable({ ofStudy = false, empty = t("noBatches") } = {}) {
  return table({
    label: t("batches"),
    empty,
    key: (batch) => batch.name,
    columns: [
      { title: t("name"), kind: "head", once: true, fill: ({ name }) => h("a", { href: `/trialbatch/${encodeURIComponent(name)}` }, name) },
      ofStudy ? null : { title: t("study"), once: true, fill: ({ spec }) => h("a", { href: `/study/${encodeURIComponent(spec.studyName)}` }, spec.studyName) },
      { title: t("state"), fill: ({ status }) => badge(status.phase) },
      { title: t("progress"), kind: "wide", fill: ({ status }) => bar(status) },
      { title: t("workers"), kind: "number", fill: ({ spec }) => count(spec.parallelism) },
      { title: t("created"), fill: (batch) => time(batch.creationTimestamp) },
    ].filter(Boolean),
  });
}

export function show(main) {
  title(t("batches"));
  const list = batchTable();
  put(main, h("h1", {}, t("batches")), h("div", { class: "panel" }, list.element));
  again(async () => {
    const { trialBatches = [] } = await call("AIAutoService/ListTrialBatches");
    list.show(trialBatches.reverse());
    return every(trialBatches);
  });
}
