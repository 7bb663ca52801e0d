// Tables that stay up to date row by row, and that become cards where there is little room.

import { h, newId, put, update } from "./dom.js";
import { t } from "./language.js";

const FIRST_ROWS = 100;

/**
 * Makes a table.
 * @param {object} given
 * @param {string} given.label What it is of.
 * @param {string} given.empty What is said where there is nothing.
 * @param {(item: object) => string} given.key Tells items apart.
 * @param {Array<{title: string, fill: (item: object) => any, once?: boolean, kind?: string}>} given.columns
 *     `fill` gives what is in a cell; with `once` only when the row is made.
 * @param {(item: object) => Node|null} [given.below] What is below a row, over all columns.
 * @param {(item: object) => boolean} [given.moves] Whether cells change although the item does not: with
 *     the time.
 * @returns {{element: Element, show: (items: object[]) => void, isHeld: (item: object) => boolean}}
 *     `isHeld` tells whether somebody has opened something in a row, or is at it.
 */
export function table({ label, empty, key, columns, below = () => null, moves = () => false }) {
  // The roles are said, since a table that is laid out as cards is none to some browsers.
  const body = h("tbody", { role: "rowgroup" });
  const rows = new Map();
  const nothing = h("p", { class: "empty", hidden: true }, empty);
  const waiting = h("p", { class: "loading", role: "status" }, t("loading"));
  const more = h("button", { type: "button", hidden: true, on: { click: () => { limit += FIRST_ROWS; draw(); } } }, t("showMore"));
  const grid = h("table", { role: "table", "aria-label": label, hidden: true },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(({ title, kind }) =>
      h("th", { scope: "col", role: "columnheader", class: kind }, title)))),
    body);
  let limit = FIRST_ROWS;
  let all = [];

  function make(item) {
    const cells = columns.map(({ title, kind }) =>
      h("td", { role: "cell", class: kind, "data-title": title }, h("div")));
    const row = { element: h("tr", { role: "row" }, cells), cells, under: null, told: "" };
    columns.forEach(({ fill, once }, at) => { if (once) put(cells[at].firstChild, fill(item)); });
    return row;
  }

  function showUnder(row, content) {
    if (content && row.under) {
      update(row.under.firstChild, content);
      return;
    }
    row.under?.remove();
    row.under = content && h("tr", { role: "row", class: "under" }, h("td", { role: "cell", colspan: columns.length }, content));
  }

  function draw() {
    const shown = all.slice(0, limit);
    const left = new Set(rows.keys());
    for (const item of shown) left.delete(key(item));
    // First of all: rows that stay need not move then, and what moves loses the focus.
    for (const name of left) {
      rows.get(name).element.remove();
      rows.get(name).under?.remove();
      rows.delete(name);
    }
    let at = 0;
    for (const item of shown) {
      const name = key(item);
      if (!rows.has(name)) rows.set(name, make(item));
      const row = rows.get(name);
      const told = JSON.stringify(item);
      if (row.told !== told || moves(item)) {
        row.told = told;
        columns.forEach(({ fill, once }, column) => { if (!once) update(row.cells[column].firstChild, fill(item)); });
        showUnder(row, below(item));
      }
      for (const element of [row.element, row.under]) {
        if (!element) continue;
        if (body.children[at] !== element) body.insertBefore(element, body.children[at] ?? null);
        at += 1;
      }
    }
    waiting.hidden = true;
    nothing.hidden = all.length > 0;
    grid.hidden = all.length === 0;
    more.hidden = all.length <= limit;
  }

  return {
    element: h("div", { class: "table" }, waiting, nothing, grid, more),
    show(items) {
      all = items;
      draw();
    },
    isHeld(item) {
      const row = rows.get(key(item));
      return [row?.element, row?.under].some((part) =>
        part?.contains(document.activeElement) || part?.querySelector("details[open]"));
    },
  };
}

/** A list of names and what they stand for. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, ...what]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, what))));
}

/** A part of a page, with a heading. */
export function section(title, ...children) {
  const id = newId("part");
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), children);
}
