// Every sale as far as it is known: the list, newer frames of the feed, and answers to changes.
//
// Two clocks run here. What buyers see (stock, state, window) is ordered by (epoch, rev). The rest
// (name, price, limit, hold, total) comes with a list an edge may have read a second ago, so an
// answer of our own counts for longer than that.

import { isNewer } from '../base/sales.js';

/** Edges read what is on sale once a second; a busy one takes a little longer. */
const LIST_LAG_MS = 3_000;

const LIVE = [
  'stock',
  'available',
  'state',
  'opens_at',
  'closes_at',
  'epoch',
  'rev',
  'server_time',
];

/** The state people see of a sale as it is stored, the rule of every program here. */
export function stateOf({ state, opens_at: opensAt, closes_at: closesAt }, available, nowMs) {
  if (state !== 'open') return state;
  if (opensAt && nowMs < Date.parse(opensAt)) return 'scheduled';
  if (closesAt && nowMs >= Date.parse(closesAt)) return 'closed';
  return available > 0 ? 'open' : 'sold_out';
}

/** Whether nothing of a sale may be changed any more: closed by hand, not by its window. */
export function isOverForGood({ state, stored, closes_at: closesAt }, nowMs) {
  return state === 'closed' && (stored === 'closed' || !closesAt || nowMs < Date.parse(closesAt));
}

/**
 * Whether what buyers see shows that Redis has what an operator was told is stored: a new life of
 * the sale is loaded from there, and a state is seen as such. Nothing else of a change is on the
 * feed.
 */
function isSeen({ waiting, epoch, seen, stored }) {
  if (epoch > waiting.epoch) return true;
  return (
    waiting.isOfState && seen !== null && (stored === 'open' ? seen !== 'paused' : seen === stored)
  );
}

const only = (source, names) => Object.fromEntries(names.map((name) => [name, source[name]]));

export class Catalogue {
  #sales = new Map();
  /** Until when our own answer counts more than a list, by product. */
  #ownUntil = new Map();

  /** Takes the feed's messages; whether something changed. */
  hear(message, nowMs) {
    if (message.type === 'snapshot') return this.list(message.products, nowMs);
    const known = this.#sales.get(message.product_id);
    if (message.type !== 'stock' || !known || !isNewer(known, message)) return false;
    this.#live(known, message);
    return true;
  }

  /** Whether a frame is of a sale no list had yet. */
  isUnknown(message) {
    return message.type === 'stock' && !this.#sales.has(message.product_id);
  }

  /** Takes every product as an edge lists it. */
  list(products, nowMs) {
    const listed = new Set(products.map((product) => product.product_id));
    for (const id of this.#sales.keys()) {
      if (!listed.has(id) && !this.#isOwn(id, nowMs)) this.#sales.delete(id);
    }
    for (const product of products) {
      const known = this.#sales.get(product.product_id);
      if (!known) this.#sales.set(product.product_id, { ...product });
      else {
        if (!this.#isOwn(product.product_id, nowMs)) {
          Object.assign(known, product, only(known, LIVE));
        }
        if (isNewer(known, product)) this.#live(known, product);
      }
    }
    return true;
  }

  /**
   * Takes a sale as a change answered it, one of its state or of something else; what buyers see
   * follows with the feed.
   */
  answer(stored, isOfState, nowMs) {
    const { state, applied, sale_version: _version, ...settings } = stored;
    const known = this.#sales.get(stored.product_id) ?? { available: 0, epoch: 0, rev: 0 };
    const waiting = applied ? null : { epoch: known.epoch, isOfState };
    // What was seen of another state says nothing of this one.
    const seen = known.stored === state ? (known.seen ?? null) : null;
    Object.assign(known, settings, { stored: state, waiting, seen });
    if (waiting && isSeen(known)) known.waiting = null;
    // A sale that was just created has nothing in Redis: all of it is free.
    known.state = stateOf(stored, known.epoch === 0 ? stored.stock : known.available, nowMs);
    this.#keep(known, nowMs);
  }

  /** Takes the units an adjustment answered. */
  adjusted({ product_id: id, stock, total }, nowMs) {
    const known = this.#sales.get(id);
    if (!known) return;
    Object.assign(known, { stock, total });
    this.#keep(known, nowMs);
  }

  get(id) {
    return this.#sales.get(id);
  }

  /** By number: rows keep their places while sales open and end. */
  all() {
    return [...this.#sales.values()].sort((a, b) => a.product_id - b.product_id);
  }

  #live(known, newer) {
    Object.assign(known, only(newer, LIVE), { seen: newer.state });
    if (newer.total !== undefined) known.total = newer.total;
    if (known.state !== 'closed' && known.stored === 'closed') delete known.stored;
    if (known.waiting && isSeen(known)) known.waiting = null;
  }

  #keep(sale, nowMs) {
    this.#sales.set(sale.product_id, sale);
    this.#ownUntil.set(sale.product_id, nowMs + LIST_LAG_MS);
  }

  #isOwn(id, nowMs) {
    return nowMs < (this.#ownUntil.get(id) ?? 0);
  }
}
