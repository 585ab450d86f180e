// Wires the shop: the feed into the cards, each with its purchase, and the chart of one sale.

import { Chart, History } from '../base/chart.js';
import { ServerClock } from '../base/clock.js';
import { byId, h, setText } from '../base/dom.js';
import { Feed } from '../base/feed.js';
import { count, rate as rateText, timeOfDay } from '../base/format.js';
import { announce, mountFrame, showConnection } from '../base/frame.js';
import { loadTexts, t } from '../base/i18n.js';
import { Products, Rate, stateAt, thresholdPassed } from '../base/sales.js';
import { SaleCard } from './card.js';
import { Purchase, loadBuyer, newBuyer } from './purchase.js';
import { isSpoken, outcomeText } from './words.js';

const TICK_EVERY_MS = 250;
const CHART_SPAN_S = 120;
/** Cards drawn before somebody asks for more: a phone draws these well. */
const CARDS_FIRST = 24;
/** What can be bought comes first. */
const ORDER = ['open', 'opening', 'paused', 'scheduled', 'sold_out', 'closed'];

const products = new Products();
const clock = new ServerClock();
/** By product: `{ card, purchase, spoken }`. */
const sales = new Map();
let pictures = {};
let buyer = loadBuyer();
let connection = 'connecting';
let heardAt = null;
let cardsMax = CARDS_FIRST;
let feed = null;
let chart = null;
let charted = null;
let rate = new Rate();

const serverMs = () => clock.at(Date.now());

function hear(message) {
  heardAt = Date.now();
  if (message.server_time) clock.hear(message.server_time, heardAt);
  if (message.type === 'order') {
    for (const { purchase } of sales.values()) purchase.hear(message);
    return;
  }
  const before = products.get(message.product_id)?.stock;
  const changed = products.take(message);
  if (message.type === 'snapshot' || message.type === 'product') layOut();
  for (const id of changed) {
    if (message.type === 'stock') speakStock(products.get(id), before);
    showSale(id);
    if (id === charted) rate.note(products.get(id).stock, performance.now());
  }
}

function speakStock({ name, stock, total }, before) {
  const percent = thresholdPassed(before ?? stock, stock, total);
  if (percent === null) return;
  announce(
    percent === 0
      ? t('shop.spoken_gone', { name })
      : t('shop.spoken', { name, percent, stock: count(stock) }),
  );
}

function startsFirst(a, b) {
  const rank = (product) => ORDER.indexOf(stateAt(product, serverMs()));
  const opens = (product) => Date.parse(product.opens_at ?? 0) || 0;
  return rank(a) - rank(b) || opens(a) - opens(b) || a.product_id - b.product_id;
}

/** Makes the cards that are missing. Those that are there keep their places. */
function layOut() {
  const grid = byId('sales');
  const list = products.all();
  const without = list.filter(({ product_id: id }) => !sales.has(id)).sort(startsFirst);
  for (const product of without.slice(0, Math.max(0, cardsMax - sales.size)))
    grid.append(addSale(product));
  grid.dataset.single = String(list.length === 1);
  byId('empty').hidden = list.length > 0;
  setText(byId('empty'), t('shop.empty'));
  const hidden = list.length - sales.size;
  byId('more-line').hidden = hidden === 0;
  setText(byId('more'), t('shop.more', { n: hidden, count: count(hidden) }));
  chooseCharted();
}

function addSale(product) {
  const id = product.product_id;
  const sale = { spoken: 'idle' };
  sale.purchase = new Purchase(id, feed, (state) => showPurchase(sale, state));
  sale.card = new SaleCard(product, pictures[id] ?? 'img/parcel.svg', {
    press: (quantity) => sale.purchase.press(buyer, quantity),
    resolve: (how) => sale.purchase.resolve(how),
  });
  sales.set(id, sale);
  sale.purchase.resume();
  return sale.card.element;
}

function showPurchase(sale, state) {
  if (products.get(sale.card.id)) showSale(sale.card.id);
  if (isSpoken(state) && sale.spoken !== state.name) announce(outcomeText(state, Date.now()));
  sale.spoken = state.name;
}

function showSale(id) {
  const sale = sales.get(id);
  sale?.card.show(products.get(id), sale.purchase.state, serverMs(), Date.now());
}

function chooseCharted() {
  const list = products.all();
  const select = byId('chart-product');
  if (!products.get(charted)) charted = [...sales.keys()][0] ?? null;
  byId('chart-choice').hidden = list.length < 2;
  select.replaceChildren(
    ...list.map(({ product_id: id, name }) => h('option', { value: id, text: name })),
  );
  select.value = String(charted);
}

function showConnectionState(state) {
  connection = state;
  showConnection(state);
  byId('sales').dataset.fresh = String(state === 'live');
  const notice = byId('as-of');
  notice.hidden = state === 'live' || heardAt === null;
  if (heardAt) setText(notice, t('shop.as_of', { time: timeOfDay(heardAt) }));
}

function tick() {
  const [server, now] = [serverMs(), Date.now()];
  for (const { card } of sales.values()) card.tick(server, now);
  const product = products.get(charted);
  if (!product) return;
  const live = connection === 'live';
  chart.history.add(now, [live ? product.stock : null]);
  chart.draw();
  setText(byId('rate'), live ? rateText(rate.at(performance.now())) : '–');
  setText(byId('sold'), count(product.total - product.stock));
  setText(
    byId('pending'),
    product.epoch > 0 ? count(Math.max(0, product.stock - product.available)) : '–',
  );
}

function listen() {
  byId('more').addEventListener('click', () => {
    cardsMax = Infinity;
    layOut();
    for (const id of sales.keys()) showSale(id);
  });
  byId('chart-product').addEventListener('change', ({ target }) => {
    charted = Number(target.value);
    rate = new Rate();
    chart.history = new History(1, CHART_SPAN_S);
  });
  byId('new-buyer').addEventListener('click', () => {
    buyer = newBuyer();
    showBuyer();
    for (const { purchase } of sales.values()) purchase.reset();
  });
}

function showBuyer() {
  setText(byId('buyer'), t('shop.buyer', { buyer }));
}

async function start() {
  const [list] = await Promise.all([
    fetch('pictures.json').then((response) => response.json()),
    loadTexts('shop'),
  ]);
  pictures = list;
  mountFrame('./');
  showBuyer();
  listen();
  chart = new Chart(byId('chart'), new History(1, CHART_SPAN_S), {
    title: t('shop.chart'),
    spanS: CHART_SPAN_S,
    stepped: true,
    fill: true,
    format: count,
    series: [{ label: t('shop.stock'), color: '--series-1' }],
  });
  feed = new Feed('/ws', hear, showConnectionState);
  setInterval(tick, TICK_EVERY_MS);
}

start();
