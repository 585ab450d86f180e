// A page of orders as a file, for whoever goes on in a spreadsheet.

import { csv, saveCsv } from '../base/csv.js';

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

/** The text of the file. */
export function csvOf(orders) {
  return csv([COLUMNS, ...orders.map((order) => COLUMNS.map((name) => order[name]))]);
}

/** Has the browser save a page. */
export function savePage(productId, page, orders) {
  saveCsv(`orders-${productId}-page-${page}.csv`, csvOf(orders));
}
