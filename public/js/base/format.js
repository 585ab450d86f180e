// Numbers, money and times as the visitor's language writes them. Digits are Arabic in both.

import { currentLanguage } from './i18n.js';

const locale = () => (currentLanguage() === 'th' ? 'th-TH-u-nu-latn' : currentLanguage());

const made = new Map();
function formatter(kind, options) {
  const key = `${locale()} ${kind.name} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new kind(locale(), options));
  return made.get(key);
}

/** A whole number, grouped; a dash for what is not known. */
export function count(value) {
  return value === null || value === undefined
    ? '–'
    : formatter(Intl.NumberFormat, {}).format(value);
}

/** A number a second: with a decimal below ten. */
export function rate(value) {
  if (value === null || value === undefined) return '–';
  const digits = value > 0 && value < 10 ? 1 : 0;
  return formatter(Intl.NumberFormat, {
    maximumFractionDigits: digits,
    minimumFractionDigits: digits,
  }).format(value);
}

/** An amount in minor units of an ISO 4217 currency. */
export function money(minor, currency) {
  const digits = new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions()
    .maximumFractionDigits;
  const whole = minor % 10 ** digits === 0;
  const options = { style: 'currency', currency, currencyDisplay: 'narrowSymbol' };
  if (whole) options.minimumFractionDigits = 0;
  return formatter(Intl.NumberFormat, options).format(minor / 10 ** digits);
}

/** A time of day, with seconds, of 24 hours in every language. */
export function timeOfDay(ms) {
  return formatter(Intl.DateTimeFormat, { timeStyle: 'medium', hourCycle: 'h23' }).format(ms);
}

/** A day and a time, for what may be days away. */
export function dayAndTime(ms) {
  return formatter(Intl.DateTimeFormat, { dateStyle: 'medium', timeStyle: 'short' }).format(ms);
}

/** An instant to the second with its zone, so that it cannot be mistaken. */
export function exactTime(ms) {
  // Thai counts years from another beginning, and says so.
  const era = currentLanguage() === 'th' ? 'short' : undefined;
  const day = { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', era };
  const zone = formatter(Intl.DateTimeFormat, { timeZoneName: 'short' })
    .formatToParts(ms)
    .find(({ type }) => type === 'timeZoneName').value;
  return `${formatter(Intl.DateTimeFormat, day).format(ms)} ${timeOfDay(ms)} ${zone}`;
}

/** A time left as a clock shows it: `9:05`, `1:00:00`. */
export function clockLeft(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (n) => String(n).padStart(2, '0');
  return hours > 0
    ? `${hours}:${two(minutes)}:${two(seconds % 60)}`
    : `${minutes}:${two(seconds % 60)}`;
}
