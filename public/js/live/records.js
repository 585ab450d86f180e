// What was heard, one record a second, for as long as it can be taken home: the last 15 minutes.

import { csv } from '../base/csv.js';

/** Frames come once a second. */
const RECORDS_MAX = 15 * 60;

const COLUMNS = [
  ['server_time', (frame) => frame.server_time],
  ['accepted_per_second', (frame) => frame.answers_per_second.accepted],
  ['replayed_per_second', (frame) => frame.answers_per_second.replayed],
  ['sold_out_per_second', (frame) => frame.answers_per_second.sold_out],
  ['refused_per_second', (frame) => frame.answers_per_second.refused],
  ['failed_per_second', (frame) => frame.answers_per_second.failed],
  ['p50_ms', (frame) => frame.latency_ms?.p50],
  ['p99_ms', (frame) => frame.latency_ms?.p99],
  ['settled_per_second', (_, totals) => totals.settledPerSecond],
  ['queue_messages', (frame) => frame.queue_messages],
  ['dead_letters', (frame) => frame.dead_letters],
  ['outbox_depth', (_, totals) => totals.outboxDepth],
  ['outbox_oldest_ms', (_, totals) => totals.outboxOldestMs],
  ['open_units', (_, totals) => totals.openUnits],
  ['oversold_units', (_, totals) => totals.oversoldUnits],
  ['websocket_clients', (_, totals) => totals.clients],
  ['edges_ready', (_, totals) => totals.edgesReady],
  ['settlers_ready', (_, totals) => totals.settlersReady],
];

export class Records {
  #records = [];
  /** Names by product id, as they were called last. */
  #names = new Map();

  /** Takes a stats frame, what was summed up from it, and the products as they stand. */
  add(frame, totals, products) {
    const stocks = new Map(products.map(({ product_id: id, stock }) => [id, stock]));
    for (const { product_id: id, name } of products) this.#names.set(id, name);
    this.#records.push({ values: COLUMNS.map(([, read]) => read(frame, totals) ?? null), stocks });
    if (this.#records.length > RECORDS_MAX) this.#records.shift();
  }

  get length() {
    return this.#records.length;
  }

  /** One line a second, one column a figure, then the stock of each product under its name. */
  toCsv() {
    const kept = new Set(this.#records.flatMap(({ stocks }) => [...stocks.keys()]));
    const ids = [...kept].sort((a, b) => a - b);
    const head = [
      ...COLUMNS.map(([name]) => name),
      ...ids.map((id) => `${this.#names.get(id)} (#${id}) stock`),
    ];
    const rows = this.#records.map(({ values, stocks }) => [
      ...values,
      ...ids.map((id) => stocks.get(id)),
    ]);
    return csv([head, ...rows]);
  }
}
