// The sales as the wall shows them: stock, pace, when they end, how much of them is left over time.

import { Products, stateAt, thresholdPassed } from '../base/sales.js';
import { saleEvents } from './events.js';
import { Pace, hottest, project } from './pace.js';
import { Shares } from './shares.js';

const millis = (text) => (text ? Date.parse(text) : null);
/** A total may be older than stock that was added since. */
const totalOf = ({ stock, total }) => Math.max(stock, total);
const percentOf = (product) =>
  totalOf(product) > 0 ? (product.stock * 100) / totalOf(product) : 0;

export class Sales {
  #products = new Products();
  #paces = new Map();
  /** When sales were seen to sell out, and how long that took: `{ atMs, tookMs }` by id. */
  #ends = new Map();
  #opened = new Map();
  #hottestId = null;
  shares = new Shares();

  /** Takes a snapshot, product or stock message: `{ events, thresholds }`. */
  take(message, now) {
    const before = new Map(
      this.#products.all().map((product) => [product.product_id, { ...product }]),
    );
    const told = { events: [], thresholds: [] };
    for (const id of this.#products.take(message)) {
      const product = this.#products.get(id);
      if (!this.#paces.has(id)) this.#paces.set(id, new Pace());
      this.#paces.get(id).note(product.stock, product.state, now.localMs);
      const known = before.get(id);
      if (!known) continue;
      this.#noteEnd(known, product, now.serverMs);
      told.events.push(...saleEvents(known, product));
      const percent = thresholdPassed(known.stock, product.stock, totalOf(product));
      if (percent !== null) told.thresholds.push({ name: product.name, percent });
    }
    this.addShares(now);
    return told;
  }

  #noteEnd(before, after, nowMs) {
    const id = after.product_id;
    if (before.state !== 'open' && after.state === 'open') this.#opened.set(id, nowMs);
    if (after.state !== 'sold_out') this.#ends.delete(id);
    else if (before.state !== 'sold_out') {
      const openedMs = this.#opened.get(id);
      this.#ends.set(id, { atMs: nowMs, tookMs: openedMs ? nowMs - openedMs : null });
    }
  }

  /** Notes what is left of each sale, for the chart. */
  addShares(now) {
    this.shares.add(
      now.serverMs,
      this.all().map((product) => [product.product_id, percentOf(product)]),
    );
  }

  /** From now on nothing is known, until the next message. */
  interrupt(now) {
    this.shares.add(now.serverMs, []);
  }

  all() {
    return this.#products.all();
  }

  /** What the page shows of each sale, and which sells fastest. `books` are by product id. */
  picture(now, live, books) {
    const sales = this.all().map((product) => this.#pictureOf(product, now, live, books));
    this.#hottestId = hottest(sales, this.#hottestId);
    return { sales, hottestId: this.#hottestId };
  }

  #pictureOf(product, { localMs, serverMs }, live, books) {
    const { product_id: id, name, stock } = product;
    const state = stateAt(product, serverMs);
    const pace = this.#paces.get(id).at(localMs);
    const times = { opensAt: millis(product.opens_at), closesAt: millis(product.closes_at) };
    const total = totalOf(product);
    return {
      id,
      name,
      stock,
      total,
      state,
      percent: percentOf(product),
      perSecond: live ? pace.perSecond : null,
      end: { ...this.#ends.get(id), ...project({ stock, state, ...times }, pace, live, serverMs) },
      book: books.get(id) ?? null,
    };
  }
}
