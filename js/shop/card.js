// The card of one sale: what is sold, how many are left, when, and the buyer's own purchase.

import { h, setText } from '../base/dom.js';
import { clockLeft, count, dayAndTime, money } from '../base/format.js';
import { t } from '../base/i18n.js';
import { stateAt } from '../base/sales.js';
import { buyButton, outcomeText, outcomeTone } from './words.js';

const STATE_TONES = { open: 'accent', opening: 'accent', scheduled: 'info', paused: 'warn' };
/** Units a buyer may choose from a list at most. */
const CHOICES_MAX = 20;
/** What is longer ahead is told as a date only. */
const COUNTDOWN_MAX_MS = 48 * 3600 * 1000;

export class SaleCard {
  #parts;
  #product = null;
  #purchase = null;

  /** `press(quantity)` on Buy, `resolve(how)` on Pay and Give it back. */
  constructor(product, picture, { press, resolve }) {
    this.id = product.product_id;
    this.#parts = makeParts(product, picture);
    const { buy, pay, cancel } = this.#parts;
    buy.addEventListener('click', () => press(this.quantity()));
    pay.addEventListener('click', () => resolve('pay'));
    cancel.addEventListener('click', () => resolve('cancel'));
    this.element = this.#parts.card;
  }

  quantity() {
    return Number(this.#parts.quantity.value) || 1;
  }

  /** Shows a product and a purchase; `serverMs` is server time, `nowMs` local. */
  show(product, purchase, serverMs, nowMs) {
    this.#product = product;
    this.#purchase = purchase;
    const { card, name, price, number, of, fill } = this.#parts;
    const { stock, total } = product;
    setText(name, product.name);
    setText(price, money(product.price_minor, product.currency));
    setText(number, count(stock));
    setText(of, t('shop.of', { total: count(total) }));
    fill.style.transform = `scaleX(${total > 0 ? Math.min(1, stock / total) : 0})`;
    card.dataset.low = String(total > 0 && stock > 0 && stock <= total / 10);
    this.#showChoices(product);
    this.tick(serverMs, nowMs);
  }

  /** What changes with time alone. */
  tick(serverMs, nowMs) {
    if (!this.#product) return;
    const {
      card,
      badge,
      window: when,
      buy,
      outcome,
      order,
      hold,
      left,
      pay,
      cancel,
      line,
    } = this.#parts;
    const saleState = stateAt(this.#product, serverMs);
    const state = this.#purchase;
    card.dataset.state = saleState;
    card.dataset.purchase = state.name;
    badge.dataset.tone = STATE_TONES[saleState] ?? '';
    setText(badge, t(`state.${saleState}`));
    setText(when, windowText(this.#product, saleState, serverMs));
    const button = buyButton(saleState, state);
    setText(buy, button.text);
    buy.disabled = !button.pressable;
    this.#parts.choice.hidden = !button.pressable || this.#product.limit < 2;
    setText(outcome, outcomeText(state, nowMs));
    outcome.dataset.tone = outcomeTone(state);
    setText(order, state.order ? t('shop.order', { id: state.order.id }) : '');
    const held = state.name === 'held' || state.name === 'resolving';
    hold.hidden = !held;
    if (!held) return;
    for (const button of [pay, cancel]) button.disabled = state.name === 'resolving';
    const leftMs = Math.max(0, Date.parse(state.expiresAt) - serverMs);
    setText(left, t('shop.time_left', { time: clockLeft(leftMs) }));
    const share = Math.min(1, leftMs / (1000 * Math.max(1, this.#product.hold_seconds)));
    line.style.transform = `scaleX(${share})`;
  }

  #showChoices({ limit, available }) {
    const { quantity } = this.#parts;
    const most = Math.max(1, Math.min(limit, CHOICES_MAX, available));
    if (quantity.childElementCount === most) return;
    const chosen = Math.min(this.quantity(), most);
    quantity.replaceChildren(
      ...Array.from({ length: most }, (_, i) => h('option', { value: i + 1, text: count(i + 1) })),
    );
    quantity.value = String(chosen);
  }
}

/** When a sale opens or closes, in words. */
function windowText({ opens_at: opensAt, closes_at: closesAt }, saleState, serverMs) {
  if (saleState === 'scheduled') return opensIn(opensAt, serverMs);
  if (saleState === 'closed')
    return closesAt ? t('shop.closed_at', { time: dayAndTime(Date.parse(closesAt)) }) : '';
  if (!closesAt) return '';
  const leftMs = Date.parse(closesAt) - serverMs;
  if (leftMs > COUNTDOWN_MAX_MS)
    return t('shop.closes_at', { time: dayAndTime(Date.parse(closesAt)) });
  return t('shop.closes_in', { time: clockLeft(leftMs) });
}

function opensIn(opensAt, serverMs) {
  const opens = Date.parse(opensAt);
  const time = dayAndTime(opens);
  if (opens - serverMs > COUNTDOWN_MAX_MS) return t('shop.opens_at', { time });
  return t('shop.opens_in', { left: clockLeft(opens - serverMs), time });
}

function makeParts({ product_id: id, limit }, picture) {
  const title = `sale-${id}`;
  const parts = {
    badge: h('p', { class: 'badge' }),
    name: h('h2', { class: 'name', id: title }),
    price: h('p', { class: 'price figure' }),
    number: h('span', { class: 'number figure' }),
    of: h('span', { class: 'of figure' }),
    fill: h('i'),
    window: h('p', { class: 'window figure' }),
    quantity: h('select', { class: 'input', id: `quantity-${id}` }),
    buy: h('button', {
      class: 'button buy',
      type: 'button',
      disabled: true,
      'aria-describedby': title,
    }),
    outcome: h('p', { class: 'outcome' }),
    order: h('p', { class: 'order' }),
    left: h('p', { class: 'left figure' }),
    line: h('i'),
    pay: h('button', { class: 'button pay', type: 'button', text: t('shop.pay') }),
    cancel: h('button', { class: 'link cancel', type: 'button', text: t('shop.cancel') }),
  };
  parts.choice = h(
    'div',
    { class: 'choice', hidden: true },
    h('label', {
      for: `quantity-${id}`,
      text: t('shop.quantity', { n: limit, limit: count(limit) }),
    }),
    parts.quantity,
  );
  parts.hold = h(
    'div',
    { class: 'hold', hidden: true },
    parts.left,
    h('div', { class: 'meter', 'aria-hidden': 'true' }, parts.line),
    h('div', { class: 'hold-buttons' }, parts.pay, parts.cancel),
  );
  parts.card = h(
    'article',
    { class: 'card sale', 'aria-labelledby': title, data: { product: id } },
    h('div', { class: 'picture' }, h('img', { src: picture, alt: '', width: 220, height: 280 })),
    h(
      'div',
      { class: 'offer' },
      parts.badge,
      parts.name,
      parts.price,
      h('p', { class: 'stock' }, parts.number, parts.of),
      h('div', { class: 'meter', 'aria-hidden': 'true' }, parts.fill),
      parts.window,
      h('div', { class: 'press' }, parts.choice, parts.buy),
      parts.outcome,
      parts.hold,
      parts.order,
    ),
  );
  return parts;
}
