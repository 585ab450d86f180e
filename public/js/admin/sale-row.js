// One sale: its figures, its rules, its buttons, and what last became of one.

import { h, setText } from '../base/dom.js';
import { clockLeft, count, money } from '../base/format.js';
import { t } from '../base/i18n.js';
import { openAdjust, adjustmentText } from './adjust.js';
import { isOverForGood } from './catalogue.js';
import { changeText, openConfirm } from './confirm.js';
import { sayIn } from './desk.js';
import { button, whileBusy } from './form.js';
import { pendingAdjustment } from './pending.js';
import { openChange } from './sale-form.js';
import { durationText, outcomeTone, windowText } from './words.js';

const TONE = {
  open: 'good',
  opening: 'info',
  scheduled: 'info',
  paused: 'warn',
  sold_out: 'accent',
  closed: '',
};

export class SaleRow {
  #desk;
  #id;
  #parts;
  #buttons;
  element;

  /** A row of a product, empty until it is shown. `onOrders(id)` when its orders are asked for. */
  constructor(desk, id, onOrders) {
    this.#desk = desk;
    this.#id = id;
    this.#parts = makeParts();
    this.#buttons = this.#makeButtons(onOrders);
    this.element = this.#arrange();
  }

  get #sale() {
    return this.#desk.catalogue.get(this.#id);
  }

  #makeButtons(onOrders) {
    const { name } = this.#sale;
    const made = (action, key, click, kind = 'quiet small') =>
      button(t(key), name, { kind, click, data: { action } });
    return {
      pause: made('pause', 'pause.do', () => this.#change('pause')),
      resume: made('resume', 'resume.do', () => this.#change('resume'), 'small'),
      change: made('change', 'change.open', () => openChange(this.#desk, this.#sale)),
      adjust: made('adjust', 'adjust.open', () => openAdjust(this.#desk, this.#sale)),
      orders: made('orders', 'orders.open', () => onOrders(this.#id)),
      reset: made('reset', 'reset.open', () => openConfirm(this.#desk, this.#sale, 'reset')),
      close: made(
        'close',
        'close.open',
        () => openConfirm(this.#desk, this.#sale, 'close'),
        'quiet small warning',
      ),
      again: made('again', 'applied.again', () => this.#again()),
      pending: made('pending', 'adjust.ask', () => openAdjust(this.#desk, this.#sale), 'small'),
    };
  }

  #arrange() {
    const { state, soon, name, number, price, left, meter, sold, way, notice, waiting, pending } =
      this.#parts;
    const { opens, closes, limit, hold } = this.#parts;
    const {
      pause,
      resume,
      change,
      adjust,
      orders,
      reset,
      close,
      again,
      pending: askPending,
    } = this.#buttons;
    const figure = (key, dd) => h('div', {}, h('dt', { text: t(key) }), dd);
    return h(
      'li',
      { class: 'card sale', data: { product: this.#id } },
      h(
        'div',
        { class: 'sale-name' },
        h('h2', {}, name),
        state,
        soon,
        h('p', { class: 'sale-what' }, number, price),
      ),
      h(
        'div',
        { class: 'sale-stock' },
        left,
        h('div', { class: 'meter', 'aria-hidden': 'true' }, meter),
        h('p', { class: 'sale-flow' }, sold, way),
      ),
      h(
        'dl',
        { class: 'facts' },
        figure('field.opens', opens),
        figure('field.closes', closes),
        figure('field.limit', limit),
        figure('fact.hold', hold),
      ),
      h('div', { class: 'notice', data: { tone: 'warn' }, hidden: true }, waiting, again),
      h('div', { class: 'notice', data: { tone: 'warn' }, hidden: true }, pending, askPending),
      notice,
      h(
        'div',
        { class: 'sale-actions' },
        pause,
        resume,
        change,
        adjust,
        orders,
        h('span', { class: 'apart' }, reset, close),
      ),
    );
  }

  async #change(what) {
    await whileBusy(this.element, async () => {
      const outcome = await this.#desk.change(this.#sale, what);
      if (outcome.kind === 'done') return;
      this.#desk.say(this.#sale, outcomeTone(outcome), () => changeText(what, outcome));
    });
    // The button that was pressed may be gone: its opposite stands in its place.
    const opposite = this.#buttons[what === 'pause' ? 'resume' : 'pause'];
    if (this.#buttons[what].hidden && !opposite.hidden) opposite.focus();
  }

  #again() {
    return whileBusy(this.element, async () => {
      const outcome = await this.#desk.askAgain(this.#sale);
      if (outcome.kind === 'done') return;
      this.#desk.say(this.#sale, outcomeTone(outcome), () => changeText('change', outcome));
    });
  }

  /** Shows a sale that is in `state` at `nowMs`, or hides it. */
  show(sale, state, nowMs, shown) {
    this.element.hidden = !shown;
    if (!shown) return;
    this.element.dataset.state = state;
    this.#showWhat(sale, state, nowMs);
    this.#showStock(sale);
    this.#showNotices(sale);
    this.#showButtons(sale, state, nowMs);
  }

  #showWhat(sale, state, nowMs) {
    const { name, number, price, state: badge, soon } = this.#parts;
    const { opens, closes, limit, hold } = this.#parts;
    setText(name, sale.name);
    for (const each of Object.values(this.#buttons))
      setText(each.lastElementChild, ` ${sale.name}`);
    setText(number, t('sale.number', { number: sale.product_id }));
    setText(price, money(sale.price_minor, sale.currency));
    badge.dataset.tone = TONE[state] ?? '';
    setText(badge, isOverForGood(sale, nowMs) ? t('shown.over') : t(`shown.${state}`));
    const isScheduled = sale.opens_at && state === 'scheduled';
    sayIn(
      soon,
      isScheduled ? t('sale.in', { time: clockLeft(Date.parse(sale.opens_at) - nowMs) }) : '',
    );
    setText(opens, windowText(sale.opens_at, t('window.opensAtOnce')));
    setText(closes, windowText(sale.closes_at, t('window.closesNever')));
    setText(limit, count(sale.limit));
    const held = sale.hold_seconds > 0;
    setText(
      hold,
      held ? t('sale.held', { time: durationText(sale.hold_seconds) }) : t('sale.notHeld'),
    );
  }

  #showStock({ stock, total, available, epoch }) {
    const { left, meter, sold, way } = this.#parts;
    left.firstChild.textContent = count(stock);
    setText(left.lastChild, t('sale.leftOf', { total: count(total) }));
    meter.style.transform = `scaleX(${total > 0 ? stock / total : 0})`;
    setText(sold, t('sale.sold', { units: count(total - stock) }));
    const units = count(Math.max(0, stock - available));
    setText(way, epoch > 0 ? t('sale.way', { units }) : t('sale.notLoaded'));
  }

  #showNotices(sale) {
    const { notice, waiting, pending } = this.#parts;
    const said = this.#desk.notices.get(this.#id);
    waiting.parentElement.hidden = !sale.waiting;
    const open = pendingAdjustment(this.#id);
    pending.parentElement.hidden = open === null;
    if (open) setText(pending, t('adjust.pendingShort', { what: adjustmentText(open) }));
    // What is said above need not be said twice.
    const text = !said || sale.waiting || open ? '' : said.words();
    sayIn(notice, text);
    notice.dataset.tone = said?.tone ?? '';
  }

  #showButtons(sale, state, nowMs) {
    const { pause, resume, change, close, reset } = this.#buttons;
    const over = isOverForGood(sale, nowMs);
    pause.hidden = over || state === 'paused';
    resume.hidden = state !== 'paused';
    change.hidden = over;
    close.hidden = over;
    reset.hidden = this.#desk.notResettable.has(this.#id);
  }
}

function makeParts() {
  const fill = h('i');
  return {
    name: h('span'),
    number: h('span'),
    price: h('span'),
    state: h('span', { class: 'badge' }),
    soon: h('span', { class: 'sale-soon' }),
    left: h('p', { class: 'sale-left' }, h('b'), h('span')),
    meter: fill,
    sold: h('span'),
    way: h('span'),
    opens: h('dd'),
    closes: h('dd'),
    limit: h('dd'),
    hold: h('dd'),
    notice: h('p', { class: 'notice', hidden: true }),
    waiting: h('p', { text: t('applied.waiting') }),
    pending: h('p'),
  };
}
