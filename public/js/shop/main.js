// Wires the page: the feed into the numbers, the chart and the button.

import { Buying, loadBuyer, newBuyer } from './buy.js';
import { StockChart } from './chart.js';
import { Feed } from './feed.js';
import { Products, Rate } from './stock.js';

const element = (id) => document.getElementById(id);
const number = new Intl.NumberFormat(document.documentElement.lang);
const CHART_EVERY_MS = 250;

const CONNECTION = {
  connecting: 'Connecting…',
  live: 'Live',
  stale: 'Reconnecting…',
  offline: 'Offline, trying again',
};
const SALE = {
  scheduled: 'Starts soon',
  open: 'On sale now',
  paused: 'Paused',
  sold_out: 'Sold out',
  closed: 'Ended',
};

const products = new Products();
const rate = new Rate();
const chart = new StockChart(element('chart'));
let connection = 'connecting';
let heardAt = null;
let buyer = loadBuyer();
let buying = null;

function hear(message) {
  heardAt = new Date();
  buying?.hear(message);
  if (products.take(message).length === 0) return;
  const product = products.first();
  if (!product) return;
  rate.note(product.stock, performance.now());
  showProduct(product);
}

function showProduct(product) {
  const { stock, available, total, state } = product;
  element('product-name').textContent = product.name;
  element('price').textContent = new Intl.NumberFormat(document.documentElement.lang, {
    style: 'currency',
    currency: product.currency,
    currencyDisplay: 'narrowSymbol',
  }).format(product.price_minor / 100);
  element('sale-state').textContent = SALE[state] ?? state;
  element('sale-state').dataset.state = state;
  element('stock').textContent = number.format(stock);
  element('stock-unit').textContent = `of ${number.format(total)} left`;
  element('meter').style.transform = `scaleX(${total > 0 ? stock / total : 0})`;
  element('sold').textContent = number.format(total - stock);
  element('pending').textContent = product.epoch > 0 ? number.format(Math.max(0, stock - available)) : '–';
  showButton();
}

function showConnection(state) {
  connection = state;
  element('connection').dataset.state = state;
  element('connection-text').textContent = CONNECTION[state];
  element('stock-line').dataset.fresh = String(state === 'live');
  const asOf = element('as-of');
  asOf.hidden = state === 'live' || heardAt === null;
  if (heardAt) asOf.textContent = `As of ${heardAt.toLocaleTimeString()}, not live`;
}

function place(state) {
  return state.position ? ` You were number ${number.format(state.position)}.` : '';
}

const OUTCOME = {
  idle: () => ['', 'quiet'],
  sending: ({ attempt }) => [attempt > 1 ? 'No answer yet, asking again…' : 'Sending…', 'quiet'],
  queued: (state) => [
    state.owned && !state.position
      ? 'You have an order already; it is being recorded…'
      : `Yours, and being recorded: you are number ${number.format(state.position)} in line.`,
    'quiet',
  ],
  confirmed: (state) => [
    `${state.owned ? 'Already yours: the order is confirmed.' : 'Confirmed. It is yours.'}${place(state)}`,
    'good',
  ],
  held: (state) => [
    state.unanswered
      ? 'The shop did not answer. Press again; it will not happen twice.'
      : `Held for you until ${new Date(state.expiresAt).toLocaleTimeString()}.${place(state)}`,
    state.unanswered ? 'bad' : 'good',
  ],
  resolving: () => ['Asking…', 'quiet'],
  paid: (state) => [`Paid. It is yours.${place(state)}`, 'good'],
  cancelled: () => ['Given back. You may buy again.', 'quiet'],
  expired: () => ['Your time to pay is over, and the order is gone. You may buy again.', 'bad'],
  rejected: () => ['The order could not be kept. Nothing was sold to you; you may try again.', 'bad'],
  sold_out: () => ['Sold out. You were not charged.', 'bad'],
  refused: ({ title }) => [title, 'bad'],
  retry: () => ['The shop does not answer. Try again in a moment; you will not buy twice.', 'bad'],
};
const BUTTON = {
  idle: 'Buy now',
  sending: 'Sending…',
  queued: 'Queued…',
  confirmed: 'Yours',
  held: 'Held for you',
  resolving: 'Held for you',
  paid: 'Yours',
  sold_out: 'Sold out',
  rejected: 'Try again',
  refused: 'Try again',
  retry: 'Try again',
};
const PRESSABLE = new Set(['idle', 'cancelled', 'expired', 'rejected', 'refused', 'retry', 'sold_out']);

function showBuying(state) {
  const [text, tone] = (OUTCOME[state.name] ?? (() => [state.name, 'quiet']))(state);
  element('outcome').textContent = text;
  element('outcome').dataset.tone = tone;
  element('outcome').dataset.state = state.name;
  element('hold').hidden = state.name !== 'held' && state.name !== 'resolving';
  for (const how of ['pay', 'cancel']) element(how).disabled = state.name === 'resolving';
  showButton();
}

function showButton() {
  const product = products.first();
  const button = element('buy');
  const state = buying?.state.name ?? 'idle';
  const soldOut = product?.state === 'sold_out' && state === 'idle';
  button.textContent = soldOut ? BUTTON.sold_out : BUTTON[state] ?? 'Buy now';
  button.disabled = !product || !PRESSABLE.has(state) || product.state !== 'open';
}

function showBuyer() {
  element('buyer').textContent = String(buyer);
}

element('buy').addEventListener('click', () => {
  const product = products.first();
  if (product) buying.press(buyer, product.product_id);
});
for (const how of ['pay', 'cancel']) {
  element(how).addEventListener('click', () => buying.resolve(how));
}
element('new-buyer').addEventListener('click', () => {
  buyer = newBuyer();
  showBuyer();
  buying.reset();
});
setInterval(() => {
  const product = products.first();
  if (!product) return;
  chart.add(Date.now(), product.stock, connection === 'live');
  element('rate').textContent = connection === 'live'
    ? number.format(Math.round(rate.at(performance.now())))
    : '–';
}, CHART_EVERY_MS);

showBuyer();
const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
const feed = new Feed(`${scheme}://${location.host}/ws`, hear, showConnection);
buying = new Buying(feed, showBuying);
showBuying(buying.state);
