// Creating a sale, and changing what may be changed of one.

import { h } from '../base/dom.js';
import { exactTime, money } from '../base/format.js';
import { t } from '../base/i18n.js';
import { Field, FormDialog, textInput } from './form.js';
import { changesOf, isSame, readSale } from './sale-values.js';
import {
  currencyDigits, durationText, outcomeTone, parsePrice, parseWhole, priceText, problemText, toInput, zoneName,
} from './words.js';

const NAME_MAX = 200;
const LABELS = {
  name: 'field.name', price_minor: 'field.price', limit: 'field.limit', hold_seconds: 'field.hold',
  opens_at: 'field.opens', closes_at: 'field.closes', product_id: 'field.number', currency: 'field.currency',
  stock: 'field.stock',
};
const CURRENCIES = ['THB', 'USD', 'EUR', 'JPY', 'SGD', 'GBP'];

/** Opens the dialog for a new sale, under the number that is free as far as is known. */
export function openCreate(desk) {
  const numbers = desk.catalogue.all().map((sale) => sale.product_id);
  new SaleForm(desk, null, Math.max(0, ...numbers) + 1).open();
}

/** Opens the dialog for a sale there is. */
export function openChange(desk, sale) {
  new SaleForm(desk, { ...sale }, sale.product_id).open();
}

class SaleForm {
  #desk;
  /** The sale as it was when the dialog was opened; null for a new one. */
  #sale;
  #fields;
  #dialog;
  /** What the fields said then. */
  #before;
  /** Whether it is not known what became of a try. */
  #isInDoubt = false;

  constructor(desk, sale, number) {
    this.#desk = desk;
    this.#sale = sale;
    this.#fields = makeFields(sale, number);
    this.#before = this.#texts();
    const fields = Object.values(this.#fields);
    this.#dialog = new FormDialog({
      title: sale ? t('change.title', { name: sale.name }) : t('create.title'),
      content: arrange(this.#fields, sale),
      fields,
      submit: t(sale ? 'change.do' : 'create.do'),
      act: () => (sale ? this.#change() : this.#create()),
    });
    for (const field of fields) field.input.addEventListener('input', () => this.#hints());
    this.#hints();
  }

  open() {
    this.#dialog.open();
  }

  #texts() {
    return Object.fromEntries(Object.entries(this.#fields).map(([name, field]) => [name, field.value]));
  }

  /** What is typed, or null after saying what is wrong with it. */
  #read() {
    const halfTyped = Object.values(this.#fields).filter((field) => field.input.validity.badInput);
    const { sale, wrong } = readSale(this.#texts(), {
      currency: this.#sale?.currency, halfTyped: halfTyped.map((field) => field.name),
    });
    return this.#dialog.wrong(wrong) ? null : sale;
  }

  #hints() {
    const { price_minor: price, hold_seconds: hold, opens_at: opens, closes_at: closes } = this.#fields;
    const currency = this.#sale?.currency ?? this.#fields.currency.value.trim().toUpperCase();
    const digits = currencyDigits(currency);
    const minor = digits === null ? null : parsePrice(price.value, digits);
    price.say(minor === null ? '' : money(minor, currency));
    const seconds = parseWhole(hold.value, 0, Number.MAX_SAFE_INTEGER);
    hold.say(seconds ? t('form.held', { time: durationText(seconds) }) : t('form.notHeld'));
    showTime(opens, t('window.opensAtOnce'));
    showTime(closes, t('window.closesNever'));
  }

  async #create() {
    const sale = this.#read();
    if (!sale) return;
    const outcome = await this.#desk.api.post('/products', sale);
    if (outcome.kind === 'done') {
      this.#done(outcome.body, () => t('create.done', { number: sale.product_id }));
      return;
    }
    // Whoever did not hear what became of a try may find its sale there.
    const exists = outcome.problem.code === 'PRODUCT_EXISTS';
    const listed = exists && this.#isInDoubt ? await this.#desk.find(sale.product_id) : null;
    if (listed && isSame(sale, listed)) {
      this.#done({ ...listed, state: 'open', applied: true }, () => t('create.before'));
      return;
    }
    this.#isInDoubt ||= outcome.kind === 'unknown';
    this.#failed(outcome, 'product_id');
  }

  async #change() {
    const sale = this.#read();
    if (!sale) return;
    const changes = changesOf(sale, this.#before, this.#texts());
    if (Object.keys(changes).length === 0) {
      this.#dialog.say('info', t('change.none'));
      return;
    }
    const outcome = await this.#desk.api.patch(`/products/${this.#sale.product_id}`, changes);
    if (outcome.kind !== 'done') this.#failed(outcome, null);
    else {
      const labels = () => Object.keys(changes).map((name) => t(LABELS[name])).join(', ');
      this.#done(outcome.body, () => t('change.done', { fields: labels() }));
    }
  }

  #done(sale, words) {
    this.#dialog.close();
    // The name it has: nothing changes, and the answer says whether Redis has the rest.
    const ask = () => this.#desk.api.patch(`/products/${sale.product_id}`, { name: sale.name });
    this.#desk.answered(sale, words, ask);
  }

  #failed(outcome, taken) {
    const labels = Object.fromEntries(Object.entries(this.#fields).map(([name, field]) => [name, field.label]));
    const { code, field, detail } = outcome.problem;
    const reason = code === 'INVALID_FIELD' && detail ? ` (${detail})` : '';
    const text = problemText(outcome.problem, labels) + reason;
    const at = code === 'PRODUCT_EXISTS' ? taken : field;
    if (!this.#dialog.wrong({ [at]: text })) this.#dialog.say(outcomeTone(outcome), text);
  }
}

function makeFields(sale, number) {
  const field = (name, attributes, hint = null) => (
    new Field({ name, label: t(LABELS[name]), input: textInput(attributes), hint }));
  const price = sale && priceText(sale.price_minor, currencyDigits(sale.currency));
  const fields = {
    name: field('name', { maxlength: NAME_MAX, value: sale?.name }),
    price_minor: field('price_minor', { inputmode: 'decimal', value: price }, ''),
    limit: field('limit', { inputmode: 'numeric', value: sale?.limit ?? 1 }),
    hold_seconds: field('hold_seconds', { inputmode: 'numeric', value: sale?.hold_seconds ?? 0 }, ''),
    opens_at: timeField('opens_at', sale?.opens_at ?? null, t('form.opensAtOnce')),
    closes_at: timeField('closes_at', sale?.closes_at ?? null, t('form.closesNever')),
  };
  if (sale) return fields;
  return {
    ...fields,
    product_id: field('product_id', { inputmode: 'numeric', value: number }, t('field.numberHint')),
    currency: field('currency', {
      maxlength: 3, value: 'THB', list: 'currencies', autocapitalize: 'characters',
    }),
    stock: field('stock', { inputmode: 'numeric' }),
  };
}

/** A time in the browser's zone, with a way back to none. */
function timeField(name, time, without) {
  const input = h('input', {
    class: 'input', type: 'datetime-local', step: 1, autocomplete: 'off', value: toInput(time),
  });
  const clear = () => {
    input.value = '';
    input.dispatchEvent(new Event('input'));
    input.focus();
  };
  const beside = h('button', { class: 'link', type: 'button', text: without, on: { click: clear } });
  return new Field({ name, label: t(LABELS[name]), input, beside, hint: '' });
}

/** Says a time in full, as it will be sent; `absent` is what none means. */
function showTime(field, absent) {
  const { input } = field;
  const isEmpty = input.value === '';
  field.say(isEmpty ? absent : exactTime(new Date(input.value).getTime()));
  // Half typed, it has no value yet.
  input.nextElementSibling.hidden = isEmpty && !input.validity.badInput;
}

function arrange(fields, sale) {
  const pair = (...shown) => h('div', { class: 'pair' }, ...shown.map((field) => field.element));
  const window = h('fieldset', { class: 'group' },
    h('legend', { text: t('form.window') }),
    pair(fields.opens_at, fields.closes_at),
    h('p', { class: 'zone', text: t('form.zone', { zone: zoneName() }) }));
  const rules = pair(fields.limit, fields.hold_seconds);
  if (sale) {
    const lead = h('p', { class: 'lead', text: t('change.lead', { currency: sale.currency }) });
    return [lead, pair(fields.name, fields.price_minor), rules, window];
  }
  const currencies = h('datalist', { id: 'currencies' }, ...CURRENCIES.map((value) => h('option', { value })));
  return [
    h('div', { class: 'pair wide-first' }, fields.name.element, fields.product_id.element),
    h('div', { class: 'triple' }, fields.price_minor.element, fields.currency.element, fields.stock.element),
    rules, window, currencies,
  ];
}
