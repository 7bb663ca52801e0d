// Questions before what can't be undone.

import { h, newId, put, say } from "./dom.js";
import { t } from "./language.js";
import { errorInWords } from "./trouble.js";

/**
 * Asks, and does it where the answer is yes.
 * @param {object} given
 * @param {string} given.title The question.
 * @param {string} given.text What happens.
 * @param {string} given.yes What the button says that does it.
 * @param {string} [given.typed] What must be typed first.
 * @param {() => Promise} given.work Does it.
 * @returns {Promise<boolean>} Whether it was done.
 */
export function ask({ title, text, yes, typed, work }) {
  const ids = { title: newId("title"), text: newId("text"), typed: newId("typed") };
  const wrong = h("div", { class: "wrong", role: "alert", hidden: true });
  const input = typed ? h("input", { id: ids.typed, autocomplete: "off", spellcheck: "false" }) : null;
  const no = h("button", { type: "button", autofocus: !typed, on: { click: () => box.close("") } }, t("cancelDialog"));
  const doIt = h("button", { class: "danger", disabled: Boolean(typed) }, yes);
  input?.addEventListener("input", () => { doIt.disabled = input.value !== typed; });
  const form = h("form", {
    method: "dialog",
    on: {
      submit: async (event) => {
        event.preventDefault();
        doIt.disabled = true;
        doIt.setAttribute("aria-busy", "true");
        try {
          await work();
          box.close("yes");
        } catch (error) {
          put(wrong, errorInWords(error));
          wrong.hidden = false;
          doIt.disabled = false;
        }
        doIt.removeAttribute("aria-busy");
      },
    },
  },
  h("h2", { id: ids.title }, title), h("p", { id: ids.text }, text),
  input ? h("p", {}, h("label", { for: ids.typed }, t("typeToConfirm", { name: typed })), input) : null,
  wrong, h("div", { class: "buttons" }, no, doIt));
  const box = h("dialog", { "aria-labelledby": ids.title, "aria-describedby": ids.text }, form);
  document.body.append(box);
  return new Promise((resolve) => {
    box.addEventListener("close", () => {
      box.remove();
      resolve(box.returnValue === "yes");
    });
    box.showModal();
  });
}

/**
 * A button that copies the text of an element, and says whether it did.
 * @param {Element} of The element.
 * @param {string} name What is on the button.
 */
export function copyButton(of, name) {
  const told = h("span", { class: "sum" });
  const copy = async () => say(told, t(await copied(of) ? "copied" : "copyFailed"));
  return [h("button", { type: "button", on: { click: copy } }, name), told];
}

async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // There is no clipboard over plain HTTP. The old way leaves the text selected where it fails, too.
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
