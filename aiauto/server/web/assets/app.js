// Shows the page that the address names.

import { CallError } from "./connect.js";
import { frame, failed } from "./frame.js";
import { t } from "./language.js";

const PAGES = {
  "": () => import("./pages/overview.js"),
  token: () => import("./pages/tokens.js"),
  workspace: () => import("./pages/workspace.js"),
  study: (name) => (name ? import("./pages/study.js") : import("./pages/studies.js")),
  trialbatch: (name) => (name ? import("./pages/batch.js") : import("./pages/batches.js")),
};

const main = frame(location.pathname);
try {
  const [place, name = ""] = names(location.pathname);
  const page = await PAGES[place](name);
  page.show(main, name);
} catch (error) {
  failed(error);
}

function names(path) {
  try {
    return path.slice(1).split("/").map(decodeURIComponent);
  } catch {
    throw new CallError("invalid_argument", t("wrongAddress"));
  }
}
