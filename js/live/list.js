// Every sale in a line: name, stock, bar, state. A line is a button that shows its sale large.

import { byId, h, setText } from '../base/dom.js';
import { count } from '../base/format.js';
import { t } from '../base/i18n.js';
import { STATE_TONES } from './hero.js';

/** Those that sell come first, those that are over last. */
const ORDER = ['open', 'opening', 'paused', 'scheduled', 'sold_out', 'closed'];

export class SaleList {
  #rows = new Map();
  #onChoose;

  /** `onChoose(id)` when a person chooses a sale. */
  constructor(onChoose) {
    this.#onChoose = onChoose;
  }

  show(sales, shownId) {
    setText(byId('sales-count'), t('sales.count', { n: sales.length }));
    const sorted = [...sales].sort(
      (a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || a.id - b.id,
    );
    for (const sale of sorted) this.#showRow(sale, sale.id === shownId);
    const ids = new Set(sorted.map(({ id }) => id));
    for (const [id, { node }] of this.#rows) {
      if (ids.has(id)) continue;
      node.remove();
      this.#rows.delete(id);
    }
    // Lines are moved only when their order changed: moving one takes the focus away.
    sorted.forEach(({ id }, i) => {
      const { node } = this.#rows.get(id);
      const there = byId('sale-list').children[i];
      if (there !== node) byId('sale-list').insertBefore(node, there ?? null);
    });
  }

  #showRow(sale, shown) {
    if (!this.#rows.has(sale.id)) this.#rows.set(sale.id, this.#makeRow(sale.id));
    const row = this.#rows.get(sale.id);
    const { text, tone } = flagOf(sale);
    setText(row.name, sale.name);
    setText(row.stock, count(sale.stock));
    setText(row.state, text);
    row.state.dataset.tone = tone;
    row.bar.style.transform = `scaleX(${sale.percent / 100})`;
    row.button.setAttribute('aria-pressed', String(shown));
  }

  #makeRow(id) {
    const name = h('span', { class: 'sale-name' });
    const stock = h('span', { class: 'sale-stock figure' });
    const state = h('span', { class: 'badge' });
    const bar = h('i');
    const button = h(
      'button',
      {
        class: 'sale',
        type: 'button',
        data: { sale: id },
        on: { click: () => this.#onChoose(id) },
      },
      name,
      h('span', { class: 'meter', 'aria-hidden': 'true' }, bar),
      stock,
      state,
    );
    return { node: h('li', {}, button), button, name, stock, state, bar };
  }
}

/** What is wrong with a sale, before its state. */
function flagOf({ state, book }) {
  if (book?.oversold_units > 0)
    return { text: `${t('oversold.label')} ${count(book.oversold_units)}`, tone: 'bad' };
  if (book?.drift_units) return { text: t('sales.drift', { n: book.drift_units }), tone: 'bad' };
  if (book && !book.gate_open && state === 'open')
    return { text: t('sales.gate_closed'), tone: 'warn' };
  return { text: t(`state.${state}`), tone: STATE_TONES[state] ?? '' };
}
