// Numbers, sizes and times for people.

import { h } from "./dom.js";
import { locale, t } from "./language.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const whole = new Intl.NumberFormat(locale);
const rounded = new Intl.NumberFormat(locale, { maximumSignificantDigits: 6 });
const short = new Intl.NumberFormat(locale, { maximumSignificantDigits: 2 });
const day = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
const moment = new Intl.DateTimeFormat(locale, day);
const longAgo = new Intl.DateTimeFormat(locale, { year: "numeric", ...day });
const precise = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" });

/** A whole number. */
export const count = (number) => whole.format(number ?? 0);

/** A value of a trial; the wire carries those that are no numbers as text. */
export function value(number) {
  const found = Number(number);
  if (!Number.isFinite(found)) return String(number);
  // Whoever reads a whole number takes every digit of it for what was meant.
  if (Number.isSafeInteger(found)) return whole.format(found);
  const size = Math.abs(found);
  if (size < 1e-4 || size >= 1e9) return found.toExponential(4);
  return size < 1e6 ? rounded.format(found) : whole.format(Math.round(found));
}

/** The values of a trial. */
export const values = (numbers) => (numbers?.length ? numbers.map(value).join(", ") : "–");

/** A number of bytes, which the wire carries as text. */
export function bytes(size) {
  let left = Number(size ?? 0);
  let unit = 0;
  while (left >= 1024 && unit < UNITS.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits: unit ? 1 : 0 }).format(left)} ${UNITS[unit]}`;
}

/** A time, with all of it for who points at it. */
export function time(text) {
  if (!text) return "–";
  const date = new Date(text);
  const short_ = date.getFullYear() === new Date().getFullYear() ? moment : longAgo;
  return h("time", { datetime: text, title: precise.format(date) }, short_.format(date));
}

/** How long something took or takes, from a time to another or until now. */
export function duration(start, end) {
  if (!start) return "–";
  const seconds = Math.max(0, ((end ? new Date(end) : new Date()) - new Date(start)) / 1000);
  if (seconds < 10) return t("seconds", { s: short.format(seconds) });
  const [h_, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  if (h_) return t("hours", { h: count(h_), m });
  return m ? t("minutes", { m, s }) : t("seconds", { s });
}
