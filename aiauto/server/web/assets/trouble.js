// What has gone wrong, in the language of the page, and below it in the words of the server.

import { fold } from "./counts.js";
import { language, t, word } from "./language.js";

/** The server's own words, which are English. */
export const original = (words) => (words ? fold(t("details"), words, { open: language === "en" }) : null);

/** What a call has failed with: a sentence by its code, and what was said. */
export const errorInWords = (error) =>
  [word("error", error.code ?? "internal"), original(error.code ? error.message : String(error))];
