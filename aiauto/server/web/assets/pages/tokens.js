// Tokens: issued, listed, revoked.

import { call } from "../connect.js";
import { ask, copyButton } from "../dialog.js";
import { h, newId, put } from "../dom.js";
import { time } from "../format.js";
import { cleared, failed, title } from "../frame.js";
import { t } from "../language.js";
import { again } from "../live.js";
import { section, table } from "../table.js";

const DAYS = ["7", "30", "90", "365"];

export function show(main) {
  title(t("tokens"));
  const list = table({
    label: t("tokens"),
    empty: t("noTokens"),
    key: (token) => token.id,
    columns: [
      { title: t("name"), kind: "head", fill: (token) => [token.name || t("unnamed"), " ", token.current ? h("span", { class: "badge" }, t("thisSession")) : null] },
      { title: t("begins"), fill: (token) => h("code", {}, `${token.hint}…`) },
      { title: t("created"), fill: (token) => time(token.createdAt) },
      { title: t("expires"), fill: (token) => (token.expiresAt ? time(token.expiresAt) : t("never")) },
      { title: t("lastUsed"), fill: (token) => (token.lastUsedAt ? time(token.lastUsedAt) : t("never")) },
      {
        title: t("actions"),
        once: true,
        fill: (token) => h("button", {
          type: "button", class: "danger", "aria-label": t("revokeNamed", { name: token.name || token.hint }), on: { click: () => revoke(token) },
        }, t("revoke")),
      },
    ],
  });
  const ids = { name: newId("name"), days: newId("days") };
  const name = h("input", { id: ids.name, maxlength: "100", autocomplete: "off", placeholder: t("tokenExample") });
  const days = h("select", { id: ids.days }, DAYS.map((one) => h("option", { value: one }, t("days", { days: one }))), h("option", { value: "" }, t("never")));
  const issued = h("div", { role: "status" });
  const form = h("form", {
    class: "row",
    on: {
      submit: async (event) => {
        event.preventDefault();
        try {
          const { token } = await call("AIAutoService/CreateToken", { name: name.value.trim(), expiryDays: days.value });
          cleared();
          shown(issued, token);
          form.reset();
          state.now();
        } catch (error) {
          failed(error);
        }
      },
    },
  },
  h("label", { for: ids.name }, t("tokenName")), name,
  h("label", { for: ids.days }, t("expires")), days,
  h("button", { class: "primary" }, t("issueToken")));
  put(main, h("h1", {}, t("tokens")), h("p", { class: "hint" }, t("tokenHint")),
    section(t("newToken"), form, issued), section(t("yourTokens"), list.element));
  const state = again(async () => {
    const { tokens = [] } = await call("AIAutoService/ListTokens");
    list.show(tokens.reverse());
    return 15_000;
  });

  async function revoke(token) {
    const done = await ask({
      title: t("revokeTitle", { name: token.name || token.hint }),
      text: token.current ? t("revokeCurrentText") : t("revokeText"),
      yes: t("revoke"),
      work: () => call("AIAutoService/RevokeToken", { tokenId: token.id }),
    });
    if (done) state.now();
  }
}

/** Shows a new token, which nobody can show again. */
function shown(place, token) {
  const secret = h("code", { class: "secret", "data-token": true }, token);
  const snippet = h("pre", { tabindex: "0" },
    `import aiauto\n\nac = aiauto.AIAutoController("${token}", base_url="${location.origin}")`);
  put(place, h("div", { class: "card" },
    h("p", {}, h("b", {}, t("tokenIssued"))),
    h("p", { class: "row" }, secret, copyButton(secret, t("copy"))),
    h("p", {}, t("tokenUse")), snippet,
    h("p", { class: "row" }, copyButton(snippet, t("copyCode")))));
}
