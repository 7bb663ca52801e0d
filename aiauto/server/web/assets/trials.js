// The trials of a study or a batch, newest first.

import { call } from "./connect.js";
import { badge, fold } from "./counts.js";
import { h, newId } from "./dom.js";
import { bytes, count, duration, time, value, values } from "./format.js";
import { cleared, failed } from "./frame.js";
import { t, word } from "./language.js";
import { section, table } from "./table.js";

const PAGE = 50;
const MOST = 500;
const STATES = ["COMPLETE", "PRUNED", "FAIL", "RUNNING"];

/**
 * The list.
 * @param {object} of `{studyName}` or `{trialbatchName}`.
 * @param {(trial: object) => void} openLog Shows the log of a trial.
 * @returns {{element: Element, refresh: () => Promise<void>}}
 */
export function trialList(of, openLog) {
  const id = newId("state");
  const select = h("select", { id }, h("option", { value: "" }, t("all")),
    STATES.map((state) => h("option", { value: state }, word("trial", state))));
  const more = h("button", { type: "button", hidden: true }, t("older"));
  const key = ({ trial, trialId, trialbatchName }) =>
    [trialbatchName, trial.trialNumber ?? 0, trialId ?? "", trial.startTime ?? ""].join(" ");
  let wanted = PAGE;
  let shown = [];
  let studyId = 0;
  let asked = 0;

  const list = table({
    label: t("trials"),
    empty: t("noTrials"),
    key,
    columns: [
      { title: t("number"), kind: "id", fill: ({ trial }) => (trial.trialNumber === -1 ? t("notBegun") : `#${trial.trialNumber ?? 0}`) },
      { title: t("state"), fill: state },
      { title: t("value"), kind: "number", fill: ({ trial }) => values(trial.values) },
      { title: t("parameters"), fill: ({ params }) => params && h("span", { class: "params" }, pairs(params)) },
      { title: t("duration"), kind: "number", fill: ({ trial }) => (trial.startTime ? duration(trial.startTime, trial.endTime) : "–") },
      { title: t("started"), fill: ({ trial }) => time(trial.startTime) },
      { title: t("artifacts"), fill: ({ artifacts, trialId }) => artifacts && h("ul", { class: "plain" }, artifacts.map((one) => artifact(one, trialId))) },
      { title: t("log"), once: true, fill: (item) => logButton(item) },
    ],
    moves: ({ trial }) => !trial.endTime,
    below: ({ trial }) => (trial.error ? fold(t(trial.error.includes("Traceback") ? "traceback" : "error"), trial.error) : null),
  });

  function logButton(item) {
    const number = item.trial.trialNumber ?? 0;
    if (!item.trialbatchName || number < 0) return "–";
    return h("button", { type: "button", "aria-label": t("logOf", { number }), on: { click: () => openLog(item) } }, t("log"));
  }

  function artifact(one, trialId) {
    const name = one.filename ?? one.artifactId;
    if (one.removed) return h("li", {}, `${name} (${t("removed")})`);
    return h("li", {}, h("a", { href: `/artifacts/${studyId}/${trialId ?? 0}/${one.artifactId}`, download: name }, name), ` ${bytes(one.size)}`);
  }

  async function refresh() {
    const mine = asked += 1;
    const states = select.value ? { states: [select.value] } : {};
    const found = [];
    let pageToken = "";
    do {
      const answer = await call("TrialService/ListTrials", { ...of, ...states, pageSize: Math.min(MOST, wanted - found.length), pageToken });
      found.push(...(answer.trials ?? []));
      pageToken = answer.nextPageToken ?? "";
      studyId = answer.studyId ?? 0;
    } while (pageToken && found.length < wanted);
    if (mine !== asked) return; // another choice has been made meanwhile
    if (pageToken) {
      // What somebody reads stays, though newer ones push it off the end.
      const known = new Set(found.map(key));
      found.push(...shown.filter((one) => !known.has(key(one)) && list.isHeld(one)));
    }
    list.show(shown = found);
    more.hidden = !pageToken;
  }

  const atOnce = () => refresh().then(cleared, failed);
  select.addEventListener("change", () => { wanted = PAGE; shown = []; atOnce(); });
  more.addEventListener("click", () => { wanted += PAGE; atOnce(); });
  return {
    element: section(t("trials"), h("p", { class: "row" }, h("label", { for: id }, t("state")), select), list.element, more),
    refresh,
  };
}

/** Parameters or attributes, whose values are JSON. */
export function pairs(found) {
  return Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, json]) => {
    let told = json;
    try {
      const read = JSON.parse(json);
      // Python's whole numbers may be larger than any that JavaScript reads.
      if (/^-?\d+$/.test(json)) told = count(BigInt(json));
      else told = typeof read === "number" ? value(read) : String(read);
    } catch {
      // No number in JSON, such as NaN.
    }
    return h("span", { class: "pair" }, h("span", { class: "name" }, name), ` ${told}`);
  });
}

function state({ trial, retried, attempt }) {
  return [
    badge(trial.state, "trial"),
    retried ? ` ${t("retried")}` : null,
    attempt > 1 ? ` ${t("attempt", { attempt })}` : null,
    trial.reason ? ` ${word("reason", trial.reason)}` : null,
  ];
}
