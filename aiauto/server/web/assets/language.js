// What the pages say, in the language that the browser prefers or the user has chosen.

import en from "./texts/en.js";
import ko from "./texts/ko.js";

const TEXTS = { en, ko };
const KEY = "aiauto.language";

export const LANGUAGES = { en: "English", ko: "한국어" };

/** The language in use. */
export const language = chosen() ?? preferred();

/** The same with its region, which decides how numbers and dates are written. */
export const locale = (navigator.languages ?? []).find((tag) => tag.toLowerCase().split("-")[0] === language) ?? language;

/**
 * A text.
 * @param {keyof typeof en} name Its name.
 * @param {object} [values] What is put in for `{...}`.
 */
export function t(name, values = {}) {
  const text = TEXTS[language][name] ?? en[name];
  if (text === undefined) throw new Error(`no text ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** The text for a word of the server's, or the word where there is none. */
export function word(kind, value) {
  const name = `${kind}.${value}`;
  return name in en ? t(name) : String(value);
}

/** Remembers a language, and shows the page in it. */
export function choose(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // A browser that remembers nothing for us.
  }
  location.reload();
}

function chosen() {
  try {
    const name = localStorage.getItem(KEY);
    return name in TEXTS ? name : null;
  } catch {
    return null;
  }
}

function preferred() {
  for (const tag of navigator.languages ?? []) {
    const name = tag.toLowerCase().split("-")[0];
    if (name in TEXTS) return name;
  }
  return "en";
}
