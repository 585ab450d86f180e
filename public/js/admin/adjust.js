// Adding units to a sale, or taking free ones out: once, however often it has to be asked.

import { h } from '../base/dom.js';
import { count } from '../base/format.js';
import { t } from '../base/i18n.js';
import { choice, Field, FormDialog, textInput } from './form.js';
import { beginAdjustment, endAdjustment, pendingAdjustment } from './pending.js';
import { outcomeTone, parseWhole, problemText } from './words.js';

/** Units a product may have at most, as the schema has it. */
const UNITS_MAX = 999_999_999_999;
const REASON_MAX = 200;

/** Opens the dialog. `desk` is where requests and news go. */
export function openAdjust(desk, sale) {
  new Adjust(desk, sale).open();
}

/** What an adjustment says of itself: `20 units added (found in the back).` */
export function adjustmentText({ delta, reason }) {
  const units = Math.abs(delta);
  return t(delta > 0 ? 'adjust.more' : 'adjust.fewer', { n: units, units: count(units), reason });
}

/**
 * Whether it is known now what became of an adjustment. Who is not let in or not reached is told
 * nothing of an earlier try under the same key, `wasOpen`; a refusal of the change itself tells.
 */
export function isKnown({ kind, status, problem }, wasOpen) {
  if (kind === 'done') return true;
  if (kind === 'unknown') return false;
  return !wasOpen || status === 409 || status === 422 || problem.code === 'UNKNOWN_PRODUCT';
}

class Adjust {
  #desk;
  #sale;
  #way;
  #units;
  #reason;
  #dialog;

  constructor(desk, sale) {
    this.#desk = desk;
    this.#sale = sale;
    const ways = choice([
      ['more', t('adjust.add')],
      ['fewer', t('adjust.take')],
    ]);
    const units = textInput({ inputmode: 'numeric' });
    const reason = textInput({ maxlength: REASON_MAX });
    this.#way = new Field({ name: 'way', label: t('adjust.way'), input: ways });
    this.#units = new Field({ name: 'delta', label: t('adjust.units'), input: units, hint: '' });
    const hint = t('adjust.reasonHint');
    this.#reason = new Field({ name: 'reason', label: t('adjust.reason'), input: reason, hint });
    const pending = pendingAdjustment(sale.product_id);
    this.#dialog = new FormDialog({
      title: t('adjust.title', { name: sale.name }),
      content: [
        h('dl', { class: 'figures' }, ...this.#figures()),
        h('div', { class: 'pair' }, this.#way.element, this.#units.element),
        this.#reason.element,
      ],
      fields: [this.#way, this.#units, this.#reason],
      submit: t(pending ? 'form.askAgain' : 'adjust.do'),
      act: () => this.#act(),
    });
    for (const field of [this.#way, this.#units])
      field.input.addEventListener('input', () => this.#preview());
    this.#preview();
    if (pending) this.#repeat(pending);
  }

  open() {
    this.#dialog.open();
  }

  #figures() {
    const { stock, total, available, epoch } = this.#sale;
    const shown = [
      ['figure.left', stock],
      ['figure.free', epoch > 0 ? available : null],
      ['figure.total', total],
    ];
    return shown.map(([key, units]) =>
      h('div', {}, h('dt', { text: t(key) }), h('dd', { text: count(units) })),
    );
  }

  #typed() {
    const units = parseWhole(this.#units.value, 1, UNITS_MAX);
    return units === null ? null : units * (this.#way.value === 'more' ? 1 : -1);
  }

  #preview() {
    const delta = this.#typed();
    const { total } = this.#sale;
    const isThere = delta !== null && total + delta >= 0;
    const shown = { before: count(total), after: count(total + delta) };
    this.#units.say(isThere ? t('adjust.preview', shown) : '');
  }

  /** Only the very same may be asked again. */
  #repeat({ delta, reason }, said = '') {
    this.#way.input.value = delta > 0 ? 'more' : 'fewer';
    this.#units.input.value = String(Math.abs(delta));
    this.#reason.input.value = reason;
    for (const field of [this.#way, this.#units, this.#reason]) field.input.disabled = true;
    this.#preview();
    this.#dialog.say('warn', said + t('adjust.pending'));
    this.#dialog.submit.textContent = t('form.askAgain');
  }

  async #act() {
    const id = this.#sale.product_id;
    const open = pendingAdjustment(id);
    const asked = open ?? this.#begin();
    if (asked === null) return;
    const { delta, reason, key } = asked;
    const outcome = await this.#desk.api.post(
      `/products/${id}/adjustments`,
      { delta, reason },
      key,
    );
    if (!isKnown(outcome, open !== null)) {
      const said = outcome.kind === 'unknown' ? '' : `${problemText(outcome.problem)} `;
      this.#desk.say(this.#sale, 'warn', () =>
        t('adjust.pendingShort', { what: adjustmentText(asked) }),
      );
      setTimeout(() => this.#repeat(asked, said));
      return;
    }
    endAdjustment(id);
    if (outcome.kind === 'done') this.#done(outcome.body);
    else this.#refused(outcome);
  }

  #begin() {
    const delta = this.#typed();
    const reason = this.#reason.value.trim();
    const wrong = this.#dialog.wrong({
      delta: delta === null ? t('wrong.whole', { min: 1, max: count(UNITS_MAX) }) : null,
      reason: reason === '' ? t('wrong.reason') : null,
    });
    return wrong ? null : beginAdjustment(this.#sale.product_id, delta, reason);
  }

  #done(adjusted) {
    this.#dialog.close();
    this.#desk.adjusted(adjusted);
    const { stock, total, replayed } = adjusted;
    const after = () => t('adjust.done', { stock: count(stock), total: count(total) });
    const before = () => (replayed ? ` ${t('adjust.replayed')}` : '');
    this.#desk.say(this.#sale, 'good', () => `${adjustmentText(adjusted)} ${after()}${before()}`);
  }

  #refused(outcome) {
    const labels = { delta: t('adjust.units'), reason: t('adjust.reason') };
    const text = problemText(
      { ...outcome.problem, available: count(outcome.problem.available) },
      labels,
    );
    const field = outcome.problem.code === 'NOT_ENOUGH_FREE' ? 'delta' : outcome.problem.field;
    if (!this.#dialog.wrong({ [field]: text })) this.#dialog.say(outcomeTone(outcome), text);
    this.#dialog.submit.textContent = t('adjust.do');
    for (const each of [this.#way, this.#units, this.#reason])
      setTimeout(() => {
        each.input.disabled = false;
      });
  }
}
