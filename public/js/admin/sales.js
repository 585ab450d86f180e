// Every sale, live: what it sells, by which rules, and what can be done to it.

import { h, setText } from '../base/dom.js';
import { count } from '../base/format.js';
import { t } from '../base/i18n.js';
import { stateAt } from '../base/sales.js';
import { choice, Field, textInput } from './form.js';
import { openCreate } from './sale-form.js';
import { SaleRow } from './sale-row.js';

/** With more sales than that, one looks for one. */
const SEARCH_FROM = 6;

const FIGURES = ['onSale', 'soon', 'left', 'sold'];
const RUNNING = ['open', 'opening', 'sold_out', 'paused', 'scheduled'];

export class SalesView {
  #desk;
  #onOrders;
  #rows = new Map();
  #list;
  #none;
  #figures;
  #search;
  #text = '';
  #shown = 'all';

  /** `onOrders(id)` when the orders of a product are asked for. */
  constructor(desk, onOrders) {
    this.#desk = desk;
    this.#onOrders = onOrders;
  }

  /** Makes the view anew, in the language there is. */
  build() {
    this.#rows.clear();
    this.#list = h('ol', { class: 'sales' });
    this.#none = h('p', { class: 'none card', hidden: true });
    this.#figures = Object.fromEntries(FIGURES.map((name) => [name, h('dd', { text: '–' })]));
    const figures = FIGURES.map((name) =>
      h('div', {}, h('dt', { text: t(`figure.${name}`) }), this.#figures[name]),
    );
    const create = h('button', {
      class: 'button',
      type: 'button',
      id: 'create',
      text: t('create.open'),
      on: { click: () => openCreate(this.#desk) },
    });
    this.#search = this.#buildSearch();
    const element = h(
      'div',
      { class: 'view' },
      h('div', { class: 'view-head' }, h('dl', { class: 'figures' }, ...figures), create),
      this.#search,
      this.#list,
      this.#none,
      this.#desk.news.build(),
    );
    this.refresh();
    return element;
  }

  #buildSearch() {
    const input = textInput({ type: 'search', value: this.#text });
    const text = new Field({ name: 'search', label: t('sales.search'), input });
    const states = [
      ['all', t('sales.all')],
      ['running', t('sales.running')],
      ['closed', t('sales.ended')],
    ];
    const shown = new Field({
      name: 'shown',
      label: t('sales.shown'),
      input: choice(states, this.#shown),
    });
    text.input.addEventListener('input', () => {
      this.#text = text.value;
      this.refresh();
    });
    shown.input.addEventListener('change', () => {
      this.#shown = shown.value;
      this.refresh();
    });
    return h('div', { class: 'filters', role: 'search' }, text.element, shown.element);
  }

  #fits(sale, state) {
    const wanted = this.#text.trim().toLowerCase();
    const named = sale.name.toLowerCase().includes(wanted) || String(sale.product_id) === wanted;
    return (
      named && (this.#shown === 'all' || (this.#shown === 'running') === RUNNING.includes(state))
    );
  }

  /** Shows what is known now. */
  refresh() {
    if (!this.#list) return;
    const nowMs = this.#desk.nowMs();
    const sales = this.#desk.catalogue.all();
    this.#search.hidden = sales.length < SEARCH_FROM;
    const states = sales.map((sale) => stateAt(sale, nowMs));
    sales.forEach((sale, place) => {
      const state = states[place];
      this.#row(sale, place).show(sale, state, nowMs, this.#fits(sale, state));
    });
    for (const [id, row] of this.#rows) {
      if (this.#desk.catalogue.get(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    const anyShown = [...this.#rows.values()].some((row) => !row.element.hidden);
    this.#none.hidden = anyShown;
    setText(this.#none, t(sales.length === 0 ? 'sales.none' : 'sales.noneFits'));
    this.#summarize(sales, states);
  }

  #row(sale, place) {
    let row = this.#rows.get(sale.product_id);
    if (!row) {
      row = new SaleRow(this.#desk, sale.product_id, this.#onOrders);
      this.#rows.set(sale.product_id, row);
      this.#list.insertBefore(row.element, this.#list.children[place] ?? null);
    }
    return row;
  }

  #summarize(sales, states) {
    const inState = (...wanted) => count(states.filter((state) => wanted.includes(state)).length);
    const sum = (units) => count(sales.reduce((all, sale) => all + units(sale), 0));
    setText(this.#figures.onSale, inState('open'));
    setText(this.#figures.soon, inState('scheduled', 'opening'));
    setText(
      this.#figures.left,
      sum((sale) => sale.stock),
    );
    setText(
      this.#figures.sold,
      sum((sale) => Math.max(0, sale.total - sale.stock)),
    );
  }
}
