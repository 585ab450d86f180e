// Comma-separated values as RFC 4180 has them, safe to open in a spreadsheet.

import { h } from './dom.js';

/** What a spreadsheet takes for the beginning of a formula, full-width forms among them. */
const FORMULA = /^[\s\u0000-\u001f]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/;

/** How long the text is kept for the browser to read. */
const KEPT_MS = 60_000;

/** One field. A text that would be a formula gets an apostrophe in front; numbers stay numbers. */
export function field(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : '';
  const text = FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows of values as one text. The mark in front says that it is UTF-8, to Excel as well. */
export function csv(rows) {
  return `\ufeff${rows.map((row) => `${row.map(field).join(',')}\r\n`).join('')}`;
}

/** Has the browser save a text that `csv` made. */
export function saveCsv(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }));
  h('a', { href: url, download: name }).click();
  // Some browsers read it only after this.
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}
