// The fields of a sale as they are typed, and how they stand in the dialog.

import { h } from '../base/dom.js';
import { exactTime } from '../base/format.js';
import { t } from '../base/i18n.js';
import { Field, textInput } from './form.js';
import { currencyDigits, priceText, toInput, zoneName } from './words.js';

const NAME_MAX = 200;
/** What each field is called. */
export const LABELS = {
  name: 'field.name',
  price_minor: 'field.price',
  limit: 'field.limit',
  hold_seconds: 'field.hold',
  opens_at: 'field.opens',
  closes_at: 'field.closes',
  product_id: 'field.number',
  currency: 'field.currency',
  stock: 'field.stock',
};
const CURRENCIES = ['THB', 'USD', 'EUR', 'JPY', 'SGD', 'GBP'];

/** The fields of a sale there is, or, when it is null, of a new one with this number. */
export function makeFields(sale, number) {
  const field = (name, attributes, hint = null) =>
    new Field({ name, label: t(LABELS[name]), input: textInput(attributes), hint });
  const price = sale && priceText(sale.price_minor, currencyDigits(sale.currency));
  const fields = {
    name: field('name', { maxlength: NAME_MAX, value: sale?.name }),
    price_minor: field('price_minor', { inputmode: 'decimal', value: price }, ''),
    limit: field('limit', { inputmode: 'numeric', value: sale?.limit ?? 1 }),
    hold_seconds: field(
      'hold_seconds',
      { inputmode: 'numeric', value: sale?.hold_seconds ?? 0 },
      '',
    ),
    opens_at: timeField('opens_at', sale?.opens_at ?? null, t('form.opensAtOnce')),
    closes_at: timeField('closes_at', sale?.closes_at ?? null, t('form.closesNever')),
  };
  if (sale) return fields;
  return {
    ...fields,
    product_id: field('product_id', { inputmode: 'numeric', value: number }, t('field.numberHint')),
    currency: field('currency', {
      maxlength: 3,
      value: 'THB',
      list: 'currencies',
      autocapitalize: 'characters',
    }),
    stock: field('stock', { inputmode: 'numeric' }),
  };
}

/** A time in the browser's zone, with a way back to none. */
function timeField(name, time, without) {
  const input = h('input', {
    class: 'input',
    type: 'datetime-local',
    step: 1,
    autocomplete: 'off',
    value: toInput(time),
  });
  const clear = () => {
    input.value = '';
    input.dispatchEvent(new Event('input'));
    input.focus();
  };
  const beside = h('button', {
    class: 'link',
    type: 'button',
    text: without,
    on: { click: clear },
  });
  return new Field({ name, label: t(LABELS[name]), input, beside, hint: '' });
}

/** Says a time in full, as it will be sent; `absent` is what none means. */
export function showTime(field, absent) {
  const { input } = field;
  // Half typed, it has no value yet and is not empty either.
  const isNone = input.value === '' && !input.validity.badInput;
  const typed = input.value === '' ? '' : exactTime(new Date(input.value).getTime());
  field.say(isNone ? absent : typed);
  input.nextElementSibling.hidden = isNone;
}

/** The fields as they stand in the dialog. */
export function arrange(fields, sale) {
  const pair = (...shown) => h('div', { class: 'pair' }, ...shown.map((field) => field.element));
  const window = h(
    'fieldset',
    { class: 'group' },
    h('legend', { text: t('form.window') }),
    pair(fields.opens_at, fields.closes_at),
    h('p', { class: 'zone', text: t('form.zone', { zone: zoneName() }) }),
  );
  const rules = pair(fields.limit, fields.hold_seconds);
  if (sale) {
    const lead = h('p', { class: 'lead', text: t('change.lead', { currency: sale.currency }) });
    return [lead, pair(fields.name, fields.price_minor), rules, window];
  }
  const currencies = h(
    'datalist',
    { id: 'currencies' },
    ...CURRENCIES.map((value) => h('option', { value })),
  );
  return [
    h('div', { class: 'pair wide-first' }, fields.name.element, fields.product_id.element),
    h(
      'div',
      { class: 'triple' },
      fields.price_minor.element,
      fields.currency.element,
      fields.stock.element,
    ),
    rules,
    window,
    currencies,
  ];
}
