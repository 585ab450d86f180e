// A page of orders as a file (RFC 4180), for whoever goes on in a spreadsheet.

import { h } from '../base/dom.js';

const COLUMNS = [
  'reservation_id',
  'product_id',
  'user_id',
  'quantity',
  'status',
  'reason',
  'position',
  'reserved_at',
  'settled_at',
  'expires_at',
];

/** The text of the file. Nothing in it was typed by a buyer; quoted all the same. */
export function csvOf(orders) {
  const quoted = (value) => `"${String(value ?? '').replaceAll('"', '""')}"`;
  const rows = orders.map((order) => COLUMNS.map((name) => quoted(order[name])).join(','));
  return [COLUMNS.join(','), ...rows, ''].join('\r\n');
}

/** Has the browser save a page. */
export function saveCsv(productId, page, orders) {
  const url = URL.createObjectURL(new Blob([csvOf(orders)], { type: 'text/csv' }));
  const link = h('a', { href: url, download: `orders-${productId}-page-${page}.csv` });
  link.click();
  // The browser has begun by the next turn.
  setTimeout(() => URL.revokeObjectURL(url));
}
