// One buyer's way through one sale: from a press of Buy to an outcome.
//
// States: idle, sending, waiting (for `slow_down`, `busy` or `lost`), queued, held, resolving, and
// the ends: confirmed, paid, cancelled, expired, rejected, sold_out, refused, unanswered. A press
// keeps its Idempotency-Key until it is answered, over reloads too, so that pressing again, by the
// page or by the buyer, never buys twice.

const ATTEMPTS_MAX = 8;
const ANSWER_MAX_MS = 8_000;
const LOOK_EVERY_MS = 2_000;
/** A held order waits for a person; the feed tells how that ends. */
const LOOK_AT_HELD_EVERY_MS = 15_000;
/** However long a server asks to wait, a buyer is told something by then. */
const WAIT_MAX_S = 30;
const BUYER = 'flashsale.buyer';
const ORDER = 'flashsale.order.';

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
  for (const name of Object.keys(localStorage))
    if (name.startsWith(ORDER)) localStorage.removeItem(name);
  return buyer;
}

/**
 * What an answer to `POST /api/buy` means: `{ state }` is how the press ended, `{ wait, seconds }`
 * why and for how long to wait before it is sent again.
 */
export function judgeAnswer(status, body, retryAfter) {
  const order = { id: body.reservation_id, url: body.status_url };
  if (status === 202) return { state: { name: 'queued', order, position: body.position } };
  if (status === 409 && body.code === 'ALREADY_PURCHASED') {
    return { state: { name: 'queued', order, owned: true } };
  }
  if (status === 400 && body.code === 'SOLD_OUT') return { state: { name: 'sold_out' } };
  const seconds = Math.min(WAIT_MAX_S, Math.max(1, Number(retryAfter) || 1));
  if (status === 429) return { wait: 'slow_down', seconds };
  if (status >= 500) return { wait: 'busy', seconds };
  return { state: { name: 'refused', problem: body } };
}

/** Waits until `untilMs`, local time, and until the browser has a network. */
async function waitUntil(untilMs) {
  await new Promise((resolve) => {
    setTimeout(resolve, Math.max(0, untilMs - Date.now()));
  });
  if (!navigator.onLine) {
    await new Promise((resolve) => {
      addEventListener('online', resolve, { once: true });
    });
  }
}

export class Purchase {
  #feed;
  #show;
  #name;
  #timer = 0;
  /** What is remembered: `{ buyer, key, quantity, order?, position?, owned? }`. */
  #press = null;
  /** Whether the order was remembered over a reload. */
  #resumed = false;
  state = { name: 'idle' };

  /** `show(state)` is called whenever the state changes. */
  constructor(productId, feed, show) {
    this.productId = productId;
    this.#feed = feed;
    this.#show = show;
    this.#name = ORDER + productId;
    this.#press = JSON.parse(localStorage.getItem(this.#name) ?? 'null');
  }

  /** Goes on where a reload interrupted. */
  resume() {
    this.#resumed = true;
    if (this.#press?.order) this.#follow({ name: 'queued', ...this.#press });
    else if (this.#press) this.#send();
  }

  /** Forgets the order, for a new buyer. */
  reset() {
    this.#forget();
    this.#set({ name: 'idle' });
  }

  /** Presses Buy. Pressed again before it was answered, it is the same press. */
  press(buyer, quantity) {
    this.#resumed = false;
    const unanswered = this.state.name === 'unanswered' && this.#press;
    if (!unanswered) this.#remember({ buyer, quantity, key: crypto.randomUUID() });
    return this.#send();
  }

  async #send() {
    const press = this.#press;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      this.#set({ name: 'sending', attempt });
      const { state, wait, seconds } = await this.#ask(press, attempt);
      if (press !== this.#press) return;
      if (state?.name === 'queued') {
        this.#follow(state);
        return;
      }
      if (state) {
        this.#forget();
        this.#set(state);
        return;
      }
      // A crowd that was turned away together must not come back together.
      const untilMs = Date.now() + seconds * 1000 * (1 + Math.random() / 2);
      this.#set({ name: 'waiting', wait, untilMs });
      await waitUntil(untilMs);
      if (press !== this.#press) return;
    }
    this.#set({ name: 'unanswered' });
  }

  async #ask({ buyer, quantity, key }, attempt) {
    try {
      const response = await fetch('/api/buy', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body: JSON.stringify({ user_id: buyer, product_id: this.productId, quantity }),
        signal: AbortSignal.timeout(ANSWER_MAX_MS),
      });
      const body = await response.json().catch(() => ({}));
      return judgeAnswer(response.status, body, response.headers.get('retry-after'));
    } catch {
      return { wait: 'lost', seconds: Math.min(attempt, 4) };
    }
  }

  /** The feed's word on a watched order. */
  hear(message) {
    if (message.type !== 'order' || message.reservation_id !== this.#press?.order?.id) return;
    // The feed does not say until when.
    if (message.status === 'held') this.#look();
    else this.#settle(message);
  }

  /** Pays (`pay`) or gives back (`cancel`) the held order. Pressed twice, it happens once. */
  async resolve(how) {
    const held = this.state;
    this.#set({ ...held, name: 'resolving' });
    try {
      const [path, query] = this.#press.order.url.split('?');
      const response = await fetch(`${path}/${how}?${query}`, {
        method: 'POST',
        signal: AbortSignal.timeout(ANSWER_MAX_MS),
      });
      if (response.status === 200) return this.#settle(await response.json());
      if (response.status < 500) return this.#look();
    } catch {
      // Nobody knows whether it was done: pressing again tells.
    }
    return this.#set({ ...held, unanswered: true });
  }

  #follow({ order, position, owned }) {
    this.#remember({ ...this.#press, order, position, owned });
    this.#set({ name: 'queued', order, position, owned });
    this.#feed.watch(order.id);
    // The feed may miss it, so it is asked for as well.
    this.#lookEvery(LOOK_EVERY_MS);
    this.#look();
  }

  #lookEvery(ms) {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#look(), ms);
  }

  async #look() {
    const order = this.#press?.order;
    if (!order) return;
    try {
      const response = await fetch(order.url, { signal: AbortSignal.timeout(5_000) });
      if (order !== this.#press?.order) return;
      if (response.status === 200) {
        const body = await response.json();
        if (body.status === 'held') this.#hold(body);
        else if (body.status !== 'queued') this.#settle(body);
      } else if (response.status === 404 && this.#resumed) {
        // Remembered from a sale that is no more.
        this.reset();
      }
    } catch {
      // Asked again soon.
    }
  }

  #hold({ position, expires_at: expiresAt }) {
    const known = this.state.name === 'held' || this.state.name === 'resolving';
    if (!known) this.#lookEvery(LOOK_AT_HELD_EVERY_MS);
    const changed = !known || this.state.name === 'resolving' || this.state.expiresAt !== expiresAt;
    const { order, owned } = this.#press;
    if (changed) this.#set({ name: 'held', order, position, expiresAt, owned });
  }

  #settle({ status, reason }) {
    const { order, position, owned } = this.#press ?? {};
    clearInterval(this.#timer);
    if (order) this.#feed.unwatch(order.id);
    // Whoever gave an order back, let it expire or got nothing may buy again.
    if (status === 'cancelled' || status === 'expired' || status === 'rejected') this.#forget();
    this.#set({ name: status, reason, order, position, owned });
  }

  #remember(press) {
    this.#press = press;
    localStorage.setItem(this.#name, JSON.stringify(press));
  }

  #forget() {
    clearInterval(this.#timer);
    if (this.#press?.order) this.#feed.unwatch(this.#press.order.id);
    this.#press = null;
    localStorage.removeItem(this.#name);
  }

  #set(state) {
    this.state = state;
    this.#show(state);
  }
}
