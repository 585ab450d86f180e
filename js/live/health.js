// What the stats frames say of the whole: processes, queues, answers, the books.

import { History } from '../base/chart.js';
import { bookEvents, processEvents } from './events.js';
import { mergeTiles, statusOf } from './processes.js';
import { Records } from './records.js';
import { SPAN_S } from './shares.js';
import { totalsOf } from './totals.js';

/** The answers of the chart, in the order of its lines. */
export const ANSWERS = ['accepted', 'sold_out', 'refused', 'failed', 'replayed'];

/** A history that stays as it is now. */
export function copyOf(history) {
  const copy = new History(ANSWERS.length, SPAN_S);
  copy.columns = history.columns.map((column) => [...column]);
  return copy;
}

export class Health {
  #frame = null;
  #totals = null;
  #edges = new Map();
  #settlers = new Map();
  /** The last that was said of each product, to compare with; kept while nobody leads. */
  #books = new Map();
  records = new Records();
  answers = new History(ANSWERS.length, SPAN_S);

  /** Takes a frame, with the products as they stand; what happened. */
  take(frame, products, now) {
    const edges = mergeTiles(this.#edges, frame.edges, now.localMs);
    const settlers = mergeTiles(this.#settlers, frame.settlers, now.localMs);
    const names = new Map(products.map((product) => [product.product_id, product.name]));
    const events = frame.products.flatMap((book) => this.#compare(book, names));
    if (this.#frame) {
      events.push(...processEvents('edge', this.#edges, edges));
      events.push(...processEvents('settler', this.#settlers, settlers));
    }
    this.#frame = frame;
    this.#edges = edges;
    this.#settlers = settlers;
    this.#totals = totalsOf(frame, edges, settlers);
    this.#draw(now, (name) => frame.answers_per_second[name]);
    this.records.add(frame, this.#totals, products);
    return events;
  }

  /** From now on nothing is known, until the next frame. */
  interrupt(now) {
    this.#draw(now, () => null);
  }

  #draw({ serverMs }, valueOf) {
    // A line goes forward, whatever a clock does.
    if (serverMs / 1000 <= (this.answers.columns[0].at(-1) ?? 0)) return;
    this.answers.add(serverMs, ANSWERS.map(valueOf));
  }

  #compare(book, names) {
    const id = book.product_id;
    const known = this.#books.get(id);
    this.#books.set(id, book);
    return known ? bookEvents(known, book, names.get(id) ?? `#${id}`) : [];
  }

  /** What the settler that leads said of each product in the newest frame, by id. */
  books() {
    return new Map((this.#frame?.products ?? []).map((book) => [book.product_id, book]));
  }

  /**
   * What the page shows; figures are null before the first frame. Where no frames come any more,
   * `localMs` is when the last came: it is we who hear nothing, not every process that is silent.
   */
  picture(localMs) {
    const frame = this.#frame;
    return {
      answers: frame?.answers_per_second ?? null,
      latency: frame?.latency_ms ?? null,
      queueMessages: frame?.queue_messages ?? null,
      deadLetters: frame?.dead_letters ?? null,
      totals: this.#totals ?? {},
      edges: tilesAt(this.#edges, localMs),
      settlers: tilesAt(this.#settlers, localMs),
    };
  }
}

/** Tiles as they are now: they age between two frames as well. */
function tilesAt(tiles, nowMs) {
  return [...tiles.values()].map((tile) => {
    const ageMs = Math.max(0, nowMs - tile.heardMs);
    return { ...tile, ageMs, status: statusOf(tile.ready, ageMs) };
  });
}
