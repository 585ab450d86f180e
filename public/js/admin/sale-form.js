// Creating a sale, and changing what may be changed of one.

import { money } from '../base/format.js';
import { t } from '../base/i18n.js';
import { FormDialog } from './form.js';
import { arrange, LABELS, makeFields, showTime } from './sale-fields.js';
import { changesOf, isSame, readSale } from './sale-values.js';
import {
  currencyDigits,
  durationText,
  outcomeTone,
  parsePrice,
  parseWhole,
  problemText,
} from './words.js';

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
    return Object.fromEntries(
      Object.entries(this.#fields).map(([name, field]) => [name, field.value]),
    );
  }

  /** What is typed, or null after saying what is wrong with it. */
  #read() {
    const halfTyped = Object.values(this.#fields).filter((field) => field.input.validity.badInput);
    const { sale, wrong } = readSale(this.#texts(), {
      currency: this.#sale?.currency,
      halfTyped: halfTyped.map((field) => field.name),
    });
    return this.#dialog.wrong(wrong) ? null : sale;
  }

  #hints() {
    const {
      price_minor: price,
      hold_seconds: hold,
      opens_at: opens,
      closes_at: closes,
    } = this.#fields;
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
      const labels = () =>
        Object.keys(changes)
          .map((name) => t(LABELS[name]))
          .join(', ');
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
    const labels = Object.fromEntries(
      Object.entries(this.#fields).map(([name, field]) => [name, field.label]),
    );
    const { code, field, detail } = outcome.problem;
    const reason = code === 'INVALID_FIELD' && detail ? ` (${detail})` : '';
    const text = problemText(outcome.problem, labels) + reason;
    const at = code === 'PRODUCT_EXISTS' ? taken : field;
    if (!this.#dialog.wrong({ [at]: text })) this.#dialog.say(outcomeTone(outcome), text);
  }
}
