// Everything the wall knows, from the messages of one WebSocket; and pictures of it, which the page
// shows. A picture is plain values: one that is kept stays as it was.

import { ServerClock } from '../base/clock.js';
import { EventLog } from './events.js';
import { Freshness } from './freshness.js';
import { Health } from './health.js';
import { Sales } from './sales.js';

/** A step back by less is messages being faster or slower: time waits instead. */
const STEP_MIN_MS = 5_000;

/** Messages that are of sales. */
const SALES = new Set(['snapshot', 'product', 'stock']);

export class Collector {
  #clock = new ServerClock();
  #latestMs = 0;
  #freshness = new Freshness();
  #events = new EventLog();
  sales = new Sales();
  health = new Health();

  /** Takes a message heard at `localMs`: the thresholds that were passed, `{ name, percent }`. */
  hear(message, localMs) {
    if (message.server_time) this.#clock.hear(message.server_time, localMs);
    const now = this.#now(localMs);
    this.#events.add(now, this.#freshness.hear(message.type === 'stats', localMs));
    if (message.type === 'stats') {
      this.#events.add(now, this.health.take(message, this.sales.all(), now));
      this.sales.addShares(now);
    }
    if (!SALES.has(message.type)) return [];
    const { events, thresholds } = this.sales.take(message, now);
    this.#events.add(now, events);
    return thresholds;
  }

  /** The connection is something else now. */
  connect(state, localMs) {
    this.#interrupt(this.#now(localMs), this.#freshness.connect(state, localMs));
  }

  /** Looks whether figures stopped coming. */
  look(localMs) {
    this.#interrupt(this.#now(localMs), this.#freshness.look(localMs));
  }

  /** What ends live figures leaves a gap in every line. */
  #interrupt(now, events) {
    this.#events.add(now, events);
    if (!events.some(({ kind }) => kind === 'lost' || kind === 'silent')) return;
    this.sales.interrupt(now);
    this.health.interrupt(now);
  }

  /** A moment: `localMs` for what lasted how long, `serverMs` for what is shown. */
  #now(localMs) {
    const serverMs = this.#clock.at(localMs);
    const back = this.#latestMs - serverMs;
    if (back <= 0 || back > STEP_MIN_MS) this.#latestMs = serverMs;
    return { localMs, serverMs: this.#latestMs };
  }

  /** What the page shows. */
  picture(localMs) {
    const now = this.#now(localMs);
    const fresh = this.#freshness.picture(now);
    return {
      nowMs: now.serverMs,
      fresh,
      events: this.#events.all(),
      ...this.sales.picture(now, fresh.stock.view === 'live', this.health.books()),
      ...this.health.picture(localMs - (fresh.stats.view === 'live' ? 0 : fresh.stats.ageMs)),
    };
  }
}
