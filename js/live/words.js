// How the wall says lengths of time, ends of sales and events.

import { clockLeft, count, rate, timeOfDay } from '../base/format.js';
import { hasText, t } from '../base/i18n.js';

/** A length of time of any size, with its unit; a dash for what is not known. */
export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1000) return t('unit.ms', { n: rate(ms) });
  if (ms < 120_000) return t('unit.s', { n: rate(ms / 1000) });
  return clockLeft(ms);
}

/** How long ago something was: seconds only, as it changes with each look. */
export function age(ms) {
  return ms < 120_000 ? t('unit.s', { n: rate(ms / 1000) }) : clockLeft(ms);
}

/** Kinds of an end that are a word, not a number. */
const WORDS = new Set(['sold_out', 'paused', 'closed', 'opening']);

/** The end of a sale as `{ label, value, detail }`; `value` is null where the label says it all. */
export function endWords(sale) {
  const { kind, atMs, leftMs, tookMs, units } = sale.end;
  const parameters = {
    time: atMs ? timeOfDay(atMs) : '',
    units: count(units ?? sale.stock),
    took: tookMs ? clockLeft(tookMs) : '',
  };
  const variant = kind === 'sold_out' && tookMs ? 'end.sold_out.took' : `end.${kind}.detail`;
  const dated = kind !== 'sold_out' || atMs;
  return {
    label: t(`end.${kind}`),
    value: WORDS.has(kind) ? null : leftMs === undefined ? '–' : clockLeft(leftMs),
    detail: dated && hasText(variant) ? t(variant, parameters) : '',
  };
}

/** What an event says. */
export function eventText(event) {
  return t(`event.${event.kind}`, { ...event, lasted: duration(event.ms) });
}
