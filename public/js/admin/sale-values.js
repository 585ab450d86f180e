// What is typed of a sale, read and checked; pure. The server checks it again.

import { count } from '../base/format.js';
import { t } from '../base/i18n.js';
import { currencyDigits, fromInput, parsePrice, parseWhole } from './words.js';

const LIMIT_MAX = 1_000_000;
const HOLD_MAX = 2_147_483_647;
const UNITS_MAX = 999_999_999_999;
const TIMES = ['opens_at', 'closes_at'];
const WHOLE = {
  product_id: [1, Number.MAX_SAFE_INTEGER],
  stock: [0, UNITS_MAX],
  limit: [1, LIMIT_MAX],
  hold_seconds: [0, HOLD_MAX],
};

/**
 * Reads the texts of the fields there are. `currency` is that of a sale there is; `halfTyped` names
 * fields the browser could not read. The sale, and what is wrong with it by field.
 */
export function readSale(texts, { currency, halfTyped }) {
  const sale = {};
  const wrong = {};
  sale.name = texts.name.trim();
  if (sale.name === '') wrong.name = t('wrong.name');
  const known = currency ?? texts.currency.trim().toUpperCase();
  const digits = currencyDigits(known);
  if (currency === undefined) sale.currency = known;
  if (digits === null) wrong.currency = t('wrong.currency');
  sale.price_minor = parsePrice(texts.price_minor, digits ?? 2);
  if (sale.price_minor === null) {
    wrong.price_minor =
      digits === 0 ? t('wrong.priceWhole') : t('wrong.price', { digits: digits ?? 2 });
  }
  for (const [name, [min, max]] of Object.entries(WHOLE)) {
    if (texts[name] === undefined) continue;
    sale[name] = parseWhole(texts[name], min, max);
    if (sale[name] === null) wrong[name] = t('wrong.whole', { min: count(min), max: count(max) });
  }
  for (const name of TIMES) {
    if (halfTyped.includes(name)) wrong[name] = t('wrong.time');
    else sale[name] = fromInput(texts[name]);
  }
  if (sale.opens_at && sale.closes_at && sale.closes_at <= sale.opens_at)
    wrong.closes_at = t('wrong.window');
  return { sale, wrong };
}

/** Of what was read, that which was typed anew. */
export function changesOf(sale, textsBefore, textsNow) {
  const names = Object.keys(textsNow).filter((name) => textsNow[name] !== textsBefore[name]);
  return Object.fromEntries(names.map((name) => [name, sale[name]]));
}

/** Whether a sale that is listed is the one that was to be created. */
export function isSame(wanted, listed) {
  const same = ['name', 'price_minor', 'currency', 'limit', 'hold_seconds'];
  const ms = (time) => (time === null ? null : Date.parse(time));
  return (
    same.every((name) => wanted[name] === listed[name]) &&
    wanted.stock === listed.total &&
    TIMES.every((name) => ms(wanted[name]) === ms(listed[name]))
  );
}
