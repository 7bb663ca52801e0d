// What workers print, as they print it.

import { stream } from "./connect.js";
import { h, newId, put, say } from "./dom.js";
import { count } from "./format.js";
import { t } from "./language.js";
import { follow } from "./live.js";
import { section } from "./table.js";

const MAX_LINES = 5_000;

/** Who printed a line. */
const origin = (line) => (line.trialNumber === undefined ? line.workerName : `#${line.trialNumber}`);

const text = (line) => ` ${line.text ?? ""}\n`;

/** The number of the last line of a message. */
const lastOf = (message, before) => Number(message.lines?.at(-1)?.sequence ?? before);

/**
 * The log of a batch: it asks for nothing until somebody opens it.
 * @param {string} batch Name of the batch.
 * @returns {{element: Element, open: (trial: number|null) => void}} `open` shows the lines of a trial.
 */
export function logView(batch) {
  const lines = h("pre", { class: "log", role: "log", "aria-live": "off", tabindex: "0", "aria-label": t("log") });
  const state = h("p", { class: "hint", role: "status" });
  const id = newId("trial");
  const trial = h("input", { id, type: "number", min: "0", inputmode: "numeric", placeholder: t("all") });
  const keep = h("button", { type: "button", on: { click: save } }, t("saveLog"));
  const box = h("details", { class: "logs" },
    h("summary", {}, t("showLog")),
    h("form", { class: "row", on: { submit: (event) => { event.preventDefault(); begin(); } } },
      h("label", { for: id }, t("ofTrial")), trial, h("button", {}, t("show")), keep),
    state, lines);
  let running = null;
  let dropped = 0;
  // Of what trial the lines are that are shown.
  let chosen = {};

  /** The log from a line on, as far as it goes or until it ends. */
  const told = (given, signal) => stream("LogService/StreamLogs", { trialbatchName: batch, ...given, after: String(given.after) }, signal);

  function begin() {
    running?.stop();
    put(lines);
    dropped = 0;
    // Lines that come again after a break are those that the stream was not told of.
    let after = 0;
    let shown = 0;
    const of = chosen = trial.value === "" ? {} : { trialNumber: Number(trial.value) };
    const mine = running = follow(
      (signal) => told({ follow: true, after, ...of }, signal),
      (message) => {
        after = lastOf(message, after);
        shown += message.lines?.length ?? 0;
        add(message.lines ?? []);
        say(state, t("logGoesOn", { count: count(shown) }));
      },
    );
    say(state, t("logGoesOn", { count: "0" }));
    mine.done.then(() => {
      if (running === mine) say(state, shown ? t("logEnded", { count: count(shown) }) : t("logEmpty"));
    });
  }

  /** All lines so far: more than are shown, where there are many. */
  async function save() {
    const of = chosen;
    const parts = [];
    let after = 0;
    let complete = false;
    keep.disabled = true;
    await follow(
      async function* untilNow(signal) {
        yield* told({ after, ...of }, signal);
        complete = true;
      },
      (message) => {
        after = lastOf(message, after);
        parts.push((message.lines ?? []).map((line) => `${origin(line)}${text(line)}`).join(""));
      },
    ).done;
    keep.disabled = false;
    if (!complete) return; // and why has been said
    const href = URL.createObjectURL(new Blob(parts, { type: "text/plain" }));
    h("a", { href, download: `${batch}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  }

  function add(found) {
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    lines.append(...found.map((line) => h("span", { class: line.stream === "LOG_STREAM_STDERR" ? "line stderr" : "line" },
      h("span", { class: "origin" }, origin(line)), text(line))));
    const excess = lines.childElementCount - (dropped ? 1 : 0) - MAX_LINES;
    if (excess > 0) {
      if (!dropped) lines.prepend(h("span", { class: "line dropped" }));
      for (let one = 0; one < excess; one += 1) lines.children[1].remove();
      dropped += excess;
      say(lines.firstChild, `${t("linesDropped", { count: count(dropped) })}\n`);
    }
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  }

  box.addEventListener("toggle", () => {
    if (box.open && !running) begin();
    if (!box.open) {
      running?.stop();
      running = null;
    }
  });
  return {
    element: section(t("log"), box),
    open(number) {
      trial.value = number ?? "";
      if (box.open) begin();
      box.open = true;
      box.scrollIntoView({ block: "start" });
      box.querySelector("summary").focus();
    },
  };
}
