// Shows the page that the address names.

import { frame, failed } from "./frame.js";

const PAGES = {
  "": () => import("./pages/overview.js"),
  token: () => import("./pages/tokens.js"),
  workspace: () => import("./pages/workspace.js"),
  study: (name) => (name ? import("./pages/study.js") : import("./pages/studies.js")),
  trialbatch: (name) => (name ? import("./pages/batch.js") : import("./pages/batches.js")),
};

const [place, name = ""] = location.pathname.slice(1).split("/").map(decodeURIComponent);
const main = frame(location.pathname);
try {
  const page = await PAGES[place](name);
  page.show(main, name);
} catch (error) {
  failed(error);
}
