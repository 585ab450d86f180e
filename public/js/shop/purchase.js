// One buyer's way through a sale: from a press of Buy to an outcome.
//
// States: idle, sending, queued, confirmed, rejected, sold_out, refused, retry; of a sale that holds
// also held, paid, cancelled, expired. A press that got no answer is repeated with the same body,
// which is safe: the engine knows a buyer again.

const ATTEMPTS_MAX = 6;
const LOOK_EVERY_MS = 2_000;
/** A held order waits for a person; the feed tells how that ends. */
const LOOK_AT_HELD_EVERY_MS = 15_000;
const BUYER = 'flashsale.buyer';
const ORDER = 'flashsale.order';

/** The buyer this browser is, the same after a reload. */
export function loadBuyer() {
  const known = Number(localStorage.getItem(BUYER));
  return Number.isSafeInteger(known) && known > 0 ? known : newBuyer();
}

/** Becomes somebody who has not bought yet. */
export function newBuyer() {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  // 2^47 buyers: no two browsers are likely to be the same one.
  const buyer = (high % 2 ** 15) * 2 ** 32 + low + 1;
  localStorage.setItem(BUYER, String(buyer));
  localStorage.removeItem(ORDER);
  return buyer;
}

/** What the page shows after an answer to `POST /api/buy`; `null` means: press again by itself. */
export function judgeAnswer(status, body) {
  const order = { id: body.reservation_id, url: body.status_url };
  if (status === 202) return { name: 'queued', order, position: body.position };
  if (status === 409 && body.code === 'ALREADY_PURCHASED') return { name: 'queued', order, owned: true };
  if (status === 400 && body.code === 'SOLD_OUT') return { name: 'sold_out' };
  if (status === 503 || status === 429 || status === 502 || status === 504) return null;
  return { name: 'refused', title: body.title ?? `The shop answered ${status}` };
}

export class Buying {
  #feed;
  #show;
  #timer = 0;
  #order = null;
  state = { name: 'idle' };

  /** `show(state)` is called whenever the state changes. */
  constructor(feed, show) {
    this.#feed = feed;
    this.#show = show;
    const remembered = JSON.parse(localStorage.getItem(ORDER) ?? 'null');
    if (remembered) this.#follow(remembered);
  }

  /** Forgets the order, for a new buyer. */
  reset() {
    this.#forget();
    this.#set({ name: 'idle' });
  }

  async press(buyer, productId) {
    this.#set({ name: 'sending', attempt: 1 });
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const { state, waitMs } = await this.#send(buyer, productId, attempt);
      if (state?.name === 'queued') return this.#follow(state);
      if (state) return this.#set(state);
      this.#set({ name: 'sending', attempt: attempt + 1 });
      await new Promise((resolve) => { setTimeout(resolve, waitMs); });
    }
    return this.#set({ name: 'retry' });
  }

  async #send(buyer, productId, attempt) {
    const backoffMs = 500 * attempt * (1 + Math.random());
    try {
      const response = await fetch('/api/buy', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ user_id: buyer, product_id: productId }),
        signal: AbortSignal.timeout(8_000),
      });
      const body = await response.json().catch(() => ({}));
      const seconds = Number(response.headers.get('retry-after'));
      const waitMs = seconds > 0 ? Math.min(seconds, 10) * 1000 * (1 + Math.random()) : backoffMs;
      return { state: judgeAnswer(response.status, body), waitMs };
    } catch {
      return { state: null, waitMs: backoffMs };
    }
  }

  /** The feed's word on a watched order. */
  hear(message) {
    if (message.type !== 'order' || message.reservation_id !== this.#order?.id) return;
    // The feed does not say until when.
    if (message.status === 'held') this.#look();
    else this.#settle(message);
  }

  /** Pays (`pay`) or gives back (`cancel`) the held order. Pressed twice, it happens once. */
  async resolve(how) {
    const held = this.state;
    this.#set({ ...held, name: 'resolving' });
    try {
      const [path, query] = this.#order.url.split('?');
      const response = await fetch(`${path}/${how}?${query}`, {
        method: 'POST',
        signal: AbortSignal.timeout(8_000),
      });
      if (response.status === 200) return this.#settle(await response.json());
      if (response.status < 500) return this.#look();
    } catch {
      // Nobody knows whether it was done: pressing again tells.
    }
    return this.#set({ ...held, unanswered: true });
  }

  #follow(queued) {
    this.#order = queued.order;
    localStorage.setItem(ORDER, JSON.stringify({ ...queued, owned: true }));
    this.#set(queued);
    this.#feed.watch(queued.order.id);
    clearInterval(this.#timer);
    // The feed may miss it, so it is asked for as well.
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    this.#look();
  }

  async #look() {
    const order = this.#order;
    try {
      const response = await fetch(order.url, { signal: AbortSignal.timeout(5_000) });
      if (order !== this.#order) return;
      if (response.status === 200) {
        const body = await response.json();
        if (body.status === 'held') this.#hold(body);
        else if (body.status !== 'queued') this.#settle(body);
      } else if (response.status === 404 && this.state.owned && !this.state.position) {
        // Remembered from a sale that is no more.
        this.reset();
      }
    } catch {
      // Asked again soon.
    }
  }

  #hold({ position, expires_at: expiresAt }) {
    const known = this.state.name === 'held';
    const changed = !known || this.state.expiresAt !== expiresAt;
    if (!known) {
      clearInterval(this.#timer);
      this.#timer = setInterval(() => this.#look(), LOOK_AT_HELD_EVERY_MS);
    }
    if (changed) this.#set({ name: 'held', position, expiresAt, owned: this.state.owned });
  }

  #settle({ status, reason }) {
    const { position, owned } = this.state;
    // Whoever gave an order back, or let it expire, may buy again.
    if (status === 'cancelled' || status === 'expired') this.#forget();
    clearInterval(this.#timer);
    if (this.#order) this.#feed.unwatch(this.#order.id);
    this.#set({ name: status, reason, position, owned });
  }

  #forget() {
    clearInterval(this.#timer);
    if (this.#order) this.#feed.unwatch(this.#order.id);
    this.#order = null;
    localStorage.removeItem(ORDER);
  }

  #set(state) {
    this.state = state;
    this.#show(state);
  }
}
