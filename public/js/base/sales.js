// What is known of the sales: the newest frame of each product, and how fast it sells.

const RATE_WINDOW_MS = 3_000;

/**
 * Whether frame `b` is newer than `a`: by epoch, then by revision, then by the time it was written,
 * as a window that opens or closes changes the state alone.
 */
export function isNewer(a, b) {
  if (b.epoch !== a.epoch) return b.epoch > a.epoch;
  if (b.rev !== a.rev) return b.rev > a.rev;
  return Date.parse(b.server_time) > Date.parse(a.server_time);
}

/** Keeps products up to date from snapshot, product and stock messages. */
export class Products {
  #byId = new Map();

  /** Takes a message; the ids of the products that changed. */
  take(message) {
    if (message.type === 'snapshot') {
      // What the server says now counts, even if it was restarted with less. No sale is deleted,
      // ever: one that is missing is one that an edge which has just started does not know yet.
      for (const product of message.products) this.#byId.set(product.product_id, { ...product });
      return message.products.map((product) => product.product_id);
    }
    if (message.type === 'product') {
      this.#byId.set(message.product.product_id, message.product);
      return [message.product.product_id];
    }
    const known = this.#byId.get(message.product_id);
    if (message.type !== 'stock' || !known || !isNewer(known, message)) return [];
    Object.assign(known, message);
    return [message.product_id];
  }

  get(id) {
    return this.#byId.get(id);
  }

  all() {
    return [...this.#byId.values()];
  }
}

/** Units a second over the last three seconds, from how a stock fell. */
export class Rate {
  #sales = [];
  #last = null;

  note(stock, nowMs) {
    if (this.#last !== null && stock < this.#last) this.#sales.push([nowMs, this.#last - stock]);
    this.#last = stock;
  }

  at(nowMs) {
    this.#sales = this.#sales.filter(([when]) => nowMs - when < RATE_WINDOW_MS);
    const units = this.#sales.reduce((sum, [, sold]) => sum + sold, 0);
    return units / (RATE_WINDOW_MS / 1000);
  }
}

/** The state a sale is in at `nowMs` of server time: the window may have turned since the frame. */
export function stateAt(product, nowMs) {
  const { state, opens_at: opensAt, closes_at: closesAt } = product;
  if (closesAt && nowMs >= Date.parse(closesAt)) return 'closed';
  if (state === 'scheduled' && opensAt && nowMs >= Date.parse(opensAt)) return 'opening';
  return state;
}

/** The shares of a stock, in percent, whose passing is told: `announce` says no others. */
const THRESHOLDS = [50, 25, 10, 5, 0];

/** The lowest threshold a stock passed on its way down, in percent; null when it passed none. */
export function thresholdPassed(before, after, total) {
  if (total <= 0) return null;
  const passed = THRESHOLDS.filter((percent) => {
    const units = (total * percent) / 100;
    return before > units && after <= units;
  });
  return passed.at(-1) ?? null;
}
