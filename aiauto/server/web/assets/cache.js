// The files of the shared cache: listed, sent with progress, deleted.

import { call } from "./connect.js";
import { ask } from "./dialog.js";
import { h, newId, put, say } from "./dom.js";
import { bytes, count, time } from "./format.js";
import { failed, tell } from "./frame.js";
import { t } from "./language.js";
import { section, table } from "./table.js";
import { errorInWords } from "./trouble.js";
import { upload } from "./upload.js";

const PLACE = "FILE_PLACE_SHARED_CACHE";

/** @returns {{element: Element, refresh: () => Promise<void>, changed: (listener: () => void) => void}} */
export function cache() {
  let announce = () => {};
  const more = h("p", { class: "hint", hidden: true });
  const list = table({
    label: t("sharedCache"),
    empty: t("noFiles"),
    key: (file) => file.path,
    columns: [
      { title: t("name"), kind: "head", fill: (file) => file.path },
      { title: t("size"), kind: "number", fill: (file) => bytes(file.size) },
      { title: t("changed"), fill: (file) => time(file.modified) },
      {
        title: t("actions"),
        once: true,
        fill: ({ path }) => h("button", {
          type: "button", class: "danger", "aria-label": t("deleteNamed", { name: path }), on: { click: () => forget(path) },
        }, t("delete")),
      },
    ],
  });

  async function forget(path) {
    const done = await ask({
      title: t("deleteFileTitle", { name: path }), text: t("deleteFileText"), yes: t("delete"),
      work: () => call("FileService/DeleteFile", { place: PLACE, path }),
    });
    if (done) announce();
  }

  const ids = { files: newId("files"), folder: newId("folder") };
  const files = h("input", { id: ids.files, type: "file", multiple: true, required: true });
  const folder = h("input", { id: ids.folder, placeholder: "datasets", autocomplete: "off", spellcheck: "false" });
  const running = h("ul", { class: "plain uploads" });
  const form = h("form", {
    class: "row",
    on: {
      submit: (event) => {
        event.preventDefault();
        const before = folder.value.replace(/^\/+|\/+$/g, "");
        const chosen = [...files.files].map((file) => [file, before ? `${before}/${file.name}` : file.name]);
        form.reset();
        // One after the other: they share one way to the server.
        chosen.map(([file, path]) => send(file, path)).reduce((before_, start) => before_.then(start), Promise.resolve());
      },
    },
  },
  h("label", { for: ids.files }, t("files")), files,
  h("label", { for: ids.folder }, t("folder")), folder,
  h("button", { class: "primary" }, t("upload")));

  function send(file, path) {
    const giveUp = new AbortController();
    const meter = h("progress", { max: "1", value: "0", "aria-label": path });
    const state = h("span", { class: "sum" }, t("waiting"));
    const stop = h("button", { type: "button", on: { click: () => giveUp.abort() }, "aria-label": t("stopNamed", { name: path }) }, t("stop"));
    const row = h("li", {}, h("span", {}, path, " ", bytes(file.size)), meter, state, stop);
    running.append(row);
    return async () => {
      try {
        await upload(file, path, (share) => {
          meter.value = share;
          say(state, `${Math.floor(100 * share)} %`);
        }, giveUp.signal);
        put(row, t("uploaded", { name: path }));
        tell(t("uploaded", { name: path }));
      } catch (error) {
        const stopped = error.code === "canceled";
        put(row, h("div", { class: "wrong", role: "alert" }, stopped ? t("uploadStopped", { name: path }) : [`${path}: `, errorInWords(error)]));
      }
      announce();
    };
  }

  return {
    element: section(t("sharedCache"), h("p", { class: "hint" }, t("cacheHint")), form, running, list.element, more),
    async refresh() {
      const answer = await call("FileService/ListFiles", { place: PLACE });
      list.show(answer.files ?? []);
      more.hidden = !answer.more;
      say(more, t("moreFiles", { count: count(answer.files?.length) }));
    },
    changed(listener) {
      announce = listener;
    },
  };
}
