// All studies.

import { call } from "../connect.js";
import { badge, bar } from "../counts.js";
import { h, put } from "../dom.js";
import { time, value, values } from "../format.js";
import { title } from "../frame.js";
import { t, word } from "../language.js";
import { again } from "../live.js";
import { table } from "../table.js";

/** How often lists are asked for anew, in milliseconds: more often while something runs. */
export const every = (items) => (items.some(isRunning) ? 2_000 : 5_000);

const isRunning = (item) => ["Running", "Pending"].includes(item.phase ?? item.status?.phase)
  && Boolean(item.countTotal ?? item.status?.countTotal);

/** The directions of a study in words. */
export const directions = (study) =>
  (study.direction ? [study.direction] : study.directions ?? []).map((one) => word("direction", one)).join(", ");

/** The best value of a study or batch. That of each objective is said to be that: no trial may have all. */
export function best({ bestTrial, bestValues }) {
  if (bestTrial) return value(bestTrial.valueSpecial || bestTrial.value || 0);
  return bestValues?.length > 1 ? t("bestOfEach", { values: values(bestValues) }) : values(bestValues);
}

/** A table of studies. */
export function studyTable() {
  return table({
    label: t("studies"),
    empty: t("noStudies"),
    key: (study) => `${study.studyName} ${study.creationTimestamp}`,
    columns: [
      { title: t("name"), kind: "head", once: true, fill: (study) => h("a", { href: `/study/${encodeURIComponent(study.studyName)}` }, study.studyName) },
      { title: t("state"), fill: (study) => badge(study.phase) },
      { title: t("progress"), kind: "wide", fill: (study) => bar(study) },
      { title: t("best"), kind: "number", fill: best },
      { title: t("direction"), fill: directions },
      { title: t("created"), fill: (study) => time(study.creationTimestamp) },
    ],
  });
}

export function show(main) {
  title(t("studies"));
  const list = studyTable();
  put(main, h("h1", {}, t("studies")), h("div", { class: "panel" }, list.element));
  again(async () => {
    const { studies = [] } = await call("AIAutoService/ListStudies", { includeBest: true });
    list.show(studies.reverse());
    return every(studies);
  });
}
