// What an operator is told of an outcome, and numbers, money and times as they are typed.

import { exactTime } from '../base/format.js';
import { errorText, hasText, t } from '../base/i18n.js';

/** What a problem means to an operator; `labels` names fields as the page does. */
export function problemText(problem, labels = {}) {
  const own = `problem.${problem?.code}`;
  if (hasText(own)) return t(own, { available: problem.available ?? '' });
  return errorText({ ...problem, field: labels[problem?.field] ?? problem?.field });
}

/** The colour of an outcome. */
export const outcomeTone = ({ kind }) => ({ done: 'good', refused: 'bad' })[kind] ?? 'warn';

/** Digits after the point of a currency; null of what is none. */
export function currencyDigits(currency) {
  if (!/^[A-Z]{3}$/.test(currency)) return null;
  const format = new Intl.NumberFormat('en', { style: 'currency', currency });
  return format.resolvedOptions().maximumFractionDigits;
}

const WHOLE = /^(\d+|\d{1,3}(,\d{3})+)$/;

/** A whole number from `min` to `max` as typed, with or without commas; null of anything else. */
export function parseWhole(text, min, max) {
  const trimmed = text.trim();
  if (!WHOLE.test(trimmed)) return null;
  const number = Number(trimmed.replaceAll(',', ''));
  return Number.isSafeInteger(number) && number >= min && number <= max ? number : null;
}

/**
 * An amount in major units as typed, in minor units; null of anything else. A comma parts thousands
 * and nothing else: `1,5` is refused, not read as fifteen.
 */
export function parsePrice(text, digits) {
  const [whole, fraction = '', ...more] = text.trim().split('.');
  const dotted = text.includes('.');
  if (more.length > 0 || !WHOLE.test(whole) || (dotted && !/^\d+$/.test(fraction))) return null;
  if (fraction.length > digits) return null;
  const minor = Number(whole.replaceAll(',', '') + fraction.padEnd(digits, '0'));
  return Number.isSafeInteger(minor) ? minor : null;
}

/** An amount in minor units as it is typed. */
export function priceText(minor, digits) {
  const text = String(minor).padStart(digits + 1, '0');
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/** An instant as a `datetime-local` input has it, in this browser's zone, to the second. */
export function toInput(time) {
  if (time === null) return '';
  const at = new Date(time);
  const two = (n) => String(n).padStart(2, '0');
  const year = String(at.getFullYear()).padStart(4, '0');
  const day = `${year}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** What a `datetime-local` input says, as RFC 3339; null when it is empty. */
export const fromInput = (value) => (value === '' ? null : new Date(value).toISOString());

/** The zone times are typed in, with what it is ahead of UTC now. */
export function zoneName() {
  const format = new Intl.DateTimeFormat('en', { timeZoneName: 'shortOffset' });
  const offset = format.formatToParts().find(({ type }) => type === 'timeZoneName').value;
  const { timeZone } = format.resolvedOptions();
  return timeZone === 'UTC' ? timeZone : `${timeZone} (${offset})`;
}

/** A time of a window: exact, or what its absence means. */
export const windowText = (time, absent) => (time === null ? absent : exactTime(Date.parse(time)));

/** Seconds in the largest unit that has them whole. */
export function durationText(seconds) {
  if (seconds >= 3600 && seconds % 3600 === 0) return t('duration.hours', { n: seconds / 3600 });
  if (seconds >= 60 && seconds % 60 === 0) return t('duration.minutes', { n: seconds / 60 });
  return t('duration.seconds', { n: seconds });
}
