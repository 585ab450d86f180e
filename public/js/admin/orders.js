// Orders as PostgreSQL has them, in order of arrival: by product and status, a page at a time.

import { h, setText } from '../base/dom.js';
import { announce } from '../base/frame.js';
import { count } from '../base/format.js';
import { t } from '../base/i18n.js';
import { button, choice, Field, whileBusy } from './form.js';
import { savePage } from './orders-csv.js';
import { ordersTable } from './orders-table.js';
import { outcomeTone, problemText } from './words.js';

const STATUSES = ['confirmed', 'held', 'paid', 'cancelled', 'expired', 'rejected'];
const SIZES = [25, 100, 500];

export class OrdersView {
  #desk;
  #asked = { productId: null, status: '', limit: SIZES[0] };
  /** Where each page up to the one that is shown begins; the first begins at the beginning. */
  #cursors = [null];
  /** The page that is shown; null before the first and after a failure. */
  #page = null;
  #said = null;
  #parts = null;

  constructor(desk) {
    this.#desk = desk;
  }

  /** Shows the first page of a product. */
  open(productId) {
    this.#asked = { ...this.#asked, productId, status: '' };
    this.#page = null;
    this.#cursors = [null];
  }

  /** Forgets what was loaded. */
  clear() {
    this.#asked = { productId: null, status: '', limit: SIZES[0] };
    this.#page = null;
    this.#said = null;
  }

  build() {
    const filters = this.#buildFilters();
    this.#parts = {
      notice: h('p', { class: 'notice', role: 'alert', hidden: true }),
      where: h('p', { class: 'where', id: 'orders-where' }),
      table: h('div', { class: 'orders' }),
      ...this.#makeButtons(),
    };
    const { notice, where, table, previous, next, reload, csv } = this.#parts;
    this.#parts.element = h(
      'section',
      { class: 'card view', 'aria-labelledby': 'orders-title' },
      h('h2', { id: 'orders-title', text: t('orders.title') }),
      h('div', { class: 'filters orders-filters' }, ...filters.map((field) => field.element)),
      notice,
      h('div', { class: 'page-bar' }, where, h('div', { class: 'page-tools' }, reload, csv)),
      table,
      h('div', { class: 'page-tools' }, previous, next),
    );
    this.#show();
    if (this.#page === null && this.#asked.productId !== null) this.#load(this.#cursors);
    return this.#parts.element;
  }

  #buildFilters() {
    const sales = this.#desk.catalogue.all();
    this.#asked.productId ??= sales[0]?.product_id ?? null;
    const { productId, status, limit } = this.#asked;
    const filter = (name, key, options, chosen) =>
      new Field({ name, label: t(key), input: choice(options, chosen) });
    const products = sales.map((sale) => [sale.product_id, `${sale.product_id} · ${sale.name}`]);
    const statuses = [
      ['', t('orders.every')],
      ...STATUSES.map((word) => [word, t(`status.${word}`)]),
    ];
    const fields = [
      filter('product', 'orders.product', products, productId),
      filter('status', 'orders.status', statuses, status),
      filter(
        'limit',
        'orders.limit',
        SIZES.map((size) => [size, count(size)]),
        limit,
      ),
    ];
    const ask = () => {
      const [wanted, chosen, size] = fields.map((field) => field.value);
      this.#asked = { productId: Number(wanted), status: chosen, limit: Number(size) };
      this.#load([null]);
    };
    for (const field of fields) field.input.addEventListener('change', ask);
    return fields;
  }

  #makeButtons() {
    const made = (key, id, click) => button(t(key), null, { click, id });
    return {
      previous: made('orders.previous', 'previous-page', () =>
        this.#load(this.#cursors.slice(0, -1)),
      ),
      next: made('orders.next', 'next-page', () =>
        this.#load([...this.#cursors, this.#page.next_cursor]),
      ),
      reload: made('orders.reload', 'reload-orders', () => this.#load(this.#cursors)),
      csv: made('orders.csv', 'orders-csv', () =>
        savePage(this.#asked.productId, this.#cursors.length, this.#page.orders),
      ),
    };
  }

  #load(cursors) {
    return whileBusy(this.#parts.element, async () => {
      const { productId, status, limit } = this.#asked;
      const query = new URLSearchParams({ product_id: productId, limit });
      if (status !== '') query.set('status', status);
      if (cursors.at(-1) !== null) query.set('cursor', cursors.at(-1));
      const outcome = await this.#desk.api.read(`/orders?${query}`);
      if (outcome.kind === 'done') {
        this.#cursors = cursors;
        this.#page = outcome.body;
        this.#said = null;
      } else {
        this.#said = { tone: outcomeTone(outcome), text: problemText(outcome.problem) };
      }
      setTimeout(() => this.#show(true));
    });
  }

  #show(aloud = false) {
    const { notice, where, table, previous, next, reload, csv } = this.#parts;
    notice.hidden = this.#said === null;
    notice.dataset.tone = this.#said?.tone ?? '';
    setText(notice, this.#said?.text ?? '');
    const orders = this.#page?.orders ?? [];
    const page = count(this.#cursors.length);
    const shown = { page, n: orders.length, orders: count(orders.length) };
    const text = this.#page === null ? '' : t('orders.where', shown);
    setText(where, text);
    if (aloud && text !== '') announce(text);
    previous.disabled = this.#cursors.length < 2;
    next.disabled = !this.#page?.next_cursor;
    reload.disabled = this.#asked.productId === null;
    csv.disabled = orders.length === 0;
    if (orders.length > 0) table.replaceChildren(ordersTable(orders));
    else
      table.replaceChildren(
        this.#page === null ? '' : h('p', { class: 'none', text: t('orders.none') }),
      );
    // The last page has no next one: focus stays near.
    if (aloud && document.activeElement === document.body)
      (next.disabled ? previous : next).focus();
  }
}
