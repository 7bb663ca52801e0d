// The workspace: where its parts are, what it holds, and its shared cache.

import { call } from "../connect.js";
import { badge, gauge } from "../counts.js";
import { ask } from "../dialog.js";
import { h, put, update } from "../dom.js";
import { bytes, count, time } from "../format.js";
import { failed, title } from "../frame.js";
import { t } from "../language.js";
import { again } from "../live.js";
import { facts, section } from "../table.js";
import { cache } from "../cache.js";

/** How much of it is used, and the way to its dashboard. */
export function usage(workspace) {
  const share = (used, limit) => t("usedOf", { used: bytes(used), limit: bytes(limit) });
  return h("div", { class: "card" },
    h("p", { class: "row" }, badge(workspace.phase),
      // With the key that the link of scripts carries nothing would be won: who is here is logged in.
      h("a", { class: "button", href: "/dashboard" }, t("openDashboard"))),
    gauge(t("artifacts"), workspace.artifactStoreUsed, workspace.artifactStoreLimit, share(workspace.artifactStoreUsed, workspace.artifactStoreLimit)),
    gauge(t("sharedCache"), workspace.sharedCacheUsed, workspace.sharedCacheLimit, share(workspace.sharedCacheUsed, workspace.sharedCacheLimit)));
}

/** What to do where there is no workspace yet. */
export function firstSteps() {
  const make = h("button", {
    type: "button",
    on: { click: () => call("AIAutoService/EnsureWorkspace").then(() => location.reload(), failed) },
  }, t("makeWorkspace"));
  return h("div", { class: "card" }, h("p", {}, t("noWorkspace")), make, h("p", {}, t("orByScript")),
    h("pre", { tabindex: "0" }, [
      "import aiauto", "", `ac = aiauto.AIAutoController("aiauto_…", base_url="${location.origin}")`,
      'study = ac.create_study("my-study", direction="minimize")',
    ].join("\n")));
}

export function show(main) {
  title(t("workspace"));
  const about = h("div");
  const files = cache();
  const rest = h("div", { hidden: true });
  put(main, h("h1", {}, t("workspace")), about, rest);
  put(rest, files.element, section(t("dangerZone"),
    h("p", {}, t("deleteWorkspaceText")),
    h("button", { type: "button", class: "danger", on: { click: () => forget(name) } }, t("deleteWorkspace"))));
  let name = "";
  let told = "";
  const state = again(async () => {
    const [workspace] = (await call("AIAutoService/ListWorkspaces")).workspaces ?? [];
    rest.hidden = !workspace;
    name = workspace?.name ?? "";
    if (told !== (told = JSON.stringify(workspace ?? null))) {
      update(about, section(workspace ? workspace.name : t("firstSteps"), workspace ? [usage(workspace), definition(workspace)] : firstSteps()));
    }
    if (workspace) await files.refresh();
    return 10_000;
  });
  files.changed(state.now);
}

function definition(workspace) {
  return facts([
    [t("created"), time(workspace.creationTimestamp)],
    [t("journalEntries"), count(workspace.journalLength)],
    [t("address"), h("code", {}, workspace.journalUrl)],
    [t("cacheFolder"), h("code", {}, workspace.sharedCacheDir)],
  ]);
}

async function forget(name) {
  const done = await ask({
    title: t("deleteWorkspaceTitle"), text: t("deleteWorkspaceText"), yes: t("deleteWorkspace"), typed: name,
    work: () => call("AIAutoService/DeleteWorkspace"),
  });
  if (done) location.href = "/";
}
