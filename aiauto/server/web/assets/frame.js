// What stands around every page: the way from one to another, the language, the way out, and news of
// the connection.

import { h, put, say, update } from "./dom.js";
import { LANGUAGES, choose, language, t, word } from "./language.js";
import { errorInWords } from "./trouble.js";

const PAGES = [["/", "overview"], ["/study", "studies"], ["/trialbatch", "batches"], ["/workspace", "workspace"], ["/token", "tokens"]];
const notice = h("div", { class: "notice", role: "alert", hidden: true });
const news = h("p", { class: "unseen", role: "status" });
const main = h("main", { id: "main", tabindex: "-1" });

/** Builds it, and gives the place for the page. */
export function frame(path) {
  document.documentElement.lang = language;
  const select = h("select", { on: { change: () => choose(select.value) } },
    Object.entries(LANGUAGES).map(([name, own]) => h("option", { value: name, lang: name, selected: name === language }, own)));
  put(document.body,
    h("a", { class: "skip", href: "#main" }, t("skip")),
    h("header", { class: "bar" },
      h("a", { class: "brand", href: "/", "aria-label": t("home") }, h("span", { class: "mark", "aria-hidden": "true" }), "aiauto"),
      h("nav", { "aria-label": t("pages") }, h("ul", {}, PAGES.map(([href, name]) =>
        h("li", {}, h("a", { href, "aria-current": isAt(path, href) ? "page" : null }, t(name)))))),
      h("div", { class: "tools" },
        h("label", {}, h("span", { class: "unseen" }, t("language")), select),
        h("form", { method: "post", action: "/logout" }, h("button", { class: "quiet" }, t("logout"))))),
    notice, main, news);
  return main;
}

/** Names the page. */
export function title(text) {
  document.title = `${text} · aiauto`;
}

/** Tells screen readers, once they have finished what they are at. */
export function tell(text) {
  say(news, text);
}

/** Notes that the server has answered: that it did not is no news any more. */
export function worked() {
  if (notice.dataset.passes) notice.hidden = true;
}

/** Takes away whatever is shown to have gone wrong: it has gone right since. */
export function cleared() {
  notice.hidden = true;
}

/**
 * Shows what has gone wrong.
 * @returns {boolean} Whether to try again.
 */
export function failed(error) {
  if (!error.code) console.error(error);
  if (error.code === "unauthenticated") {
    update(notice, word("error", error.code), " ", h("a", { href: location.href }, t("login")));
  } else if (error.passes) {
    const [sentence, own] = errorInWords(error);
    update(notice, sentence, " ", t("tryingAgain"), own);
  } else {
    update(notice, errorInWords(error));
  }
  notice.dataset.passes = error.passes ? "yes" : "";
  notice.hidden = false;
  return Boolean(error.passes);
}

function isAt(path, href) {
  return path === href || (href !== "/" && path.startsWith(`${href}/`));
}
