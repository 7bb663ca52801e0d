// How far a batch or a study is: a bar in parts, and the same in words.

import { h, put, say } from "./dom.js";
import { count } from "./format.js";
import { t, word } from "./language.js";

const PARTS = ["succeeded", "pruned", "failed", "active"];

const numbers = (status) => ({
  succeeded: status?.countSucceeded ?? 0,
  pruned: status?.countPruned ?? 0,
  failed: status?.countFailed ?? 0,
  active: status?.countActive ?? 0,
  total: status?.countTotal ?? 0,
});

const ended = (found) => found.succeeded + found.pruned + found.failed;

/** The numbers of a study where trials have ended in it that no batch ran; else null. */
function beyondBatches(status, ofBatches) {
  const { trials } = status ?? {};
  if (!trials) return null;
  const found = {
    succeeded: trials.complete ?? 0, pruned: trials.pruned ?? 0, failed: trials.fail ?? 0, active: trials.running ?? 0,
  };
  if (ended(found) <= ended(ofBatches) && (ofBatches.total || !found.active)) return null;
  // Those that wait are among what batches have yet to run, if there are any.
  const ahead = Math.max(trials.waiting ?? 0, ofBatches.total - ended(ofBatches) - ofBatches.active);
  return { ...found, total: ended(found) + found.active + ahead };
}

/** What a bar shows, and what is written beside it. */
function told(status) {
  const ofBatches = numbers(status);
  const share = `${count(ended(ofBatches))} / ${count(ofBatches.total)}`;
  const all = beyondBatches(status, ofBatches);
  if (!all) return { found: ofBatches, sum: share };
  const done = count(ended(all));
  return { found: all, sum: ofBatches.total ? t("endedAndInBatches", { done, share }) : t("endedInAll", { done }) };
}

/** The counts as a sentence. */
export function inWords(status) {
  const { found } = told(status);
  return t("countsInWords", { ...found, done: count(ended(found)), total: count(found.total) });
}

/** A bar of the counts. */
export function bar(status) {
  const made = liveBar();
  made.show(status);
  return made.element;
}

/** A bar that goes on. */
export function liveBar() {
  const parts = PARTS.map((name) => h("span", { class: `part ${name}` }));
  const track = h("div", { class: "track", role: "img" }, parts);
  const legend = PARTS.map((name) => {
    const number = h("b", { "data-count": name });
    return { number, element: h("li", { class: name }, number, ` ${t(name)}`) };
  });
  const sum = h("span", { class: "sum" });
  const element = h("div", { class: "counts" }, track, h("div", { class: "legend" }, sum,
    h("ul", {}, legend.map((one) => one.element))));
  return {
    element,
    show(status) {
      const { found, sum: text } = told(status);
      const total = Math.max(found.total, 1);
      PARTS.forEach((name, at) => {
        // By the object model: a style in the markup would be refused.
        parts[at].style.width = `${(100 * found[name]) / total}%`;
        say(legend[at].number, count(found[name]));
        legend[at].element.hidden = !found[name];
      });
      track.setAttribute("aria-label", inWords(status));
      say(sum, text);
    },
  };
}

/** Where something stands, as a word in its colour. */
export function badge(phase, kind = "phase") {
  const name = String(phase || "Unknown");
  return h("span", { class: `badge ${name.toLowerCase()}` }, word(kind, name));
}

/** A text that may be long, out of the way until it is wanted. */
export function fold(summary, text, given = {}) {
  return h("details", given, h("summary", {}, summary), h("pre", { tabindex: "0" }, text));
}

/** How much of something is used. */
export function gauge(label, used, limit, text) {
  const share = Number(limit) ? Math.min(1, Number(used ?? 0) / Number(limit)) : 0;
  const fill = h("span", { class: share > 0.9 ? "part failed" : "part active" });
  fill.style.width = `${100 * share}%`;
  return h("div", { class: "gauge" }, h("span", {}, label), put(h("div", {
    class: "track", role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100",
    "aria-valuenow": Math.round(100 * share), "aria-valuetext": text,
  }), fill), h("span", { class: "sum" }, text));
}
