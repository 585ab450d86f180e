// A page of orders as a table, which folds into cards where there is no room for one.

import { h } from '../base/dom.js';
import { announce } from '../base/frame.js';
import { count, dayAndTime, timeOfDay } from '../base/format.js';
import { hasText, t } from '../base/i18n.js';

const TONE = {
  confirmed: 'good',
  paid: 'good',
  held: 'info',
  rejected: 'bad',
  cancelled: '',
  expired: '',
};

/** The columns, each with what it shows of an order. */
const COLUMNS = [
  ['orders.position', (order) => [count(order.position)], 'number'],
  ['orders.user', (order) => [String(order.user_id)], 'number'],
  ['orders.units', (order) => [count(order.quantity)], 'number'],
  ['orders.status', (order) => [badge(order.status), more(order)]],
  ['orders.reserved', (order) => [time(order.reserved_at)]],
  ['orders.settled', (order) => [settled(order)]],
  ['orders.reservation', (order) => [reservation(order.reservation_id)]],
];

/** The table. Its roles are said, as a table that is not laid out as one loses them. */
export function ordersTable(orders) {
  const cell =
    (order) =>
    ([key, shown, kind]) =>
      h(
        'td',
        {
          role: 'cell',
          class: kind ?? null,
          data: { label: t(key), column: key.split('.')[1] },
        },
        ...shown(order),
      );
  return h(
    'table',
    { role: 'table', 'aria-labelledby': 'orders-title', 'aria-describedby': 'orders-where' },
    h(
      'thead',
      { role: 'rowgroup' },
      h(
        'tr',
        { role: 'row' },
        ...COLUMNS.map(([key, , kind]) =>
          h('th', { role: 'columnheader', scope: 'col', class: kind ?? null, text: t(key) }),
        ),
      ),
    ),
    h(
      'tbody',
      { role: 'rowgroup' },
      ...orders.map((order) =>
        h(
          'tr',
          { role: 'row', data: { reservation: order.reservation_id } },
          ...COLUMNS.map(cell(order)),
        ),
      ),
    ),
  );
}

function badge(status) {
  return h('span', {
    class: 'badge',
    data: { tone: TONE[status] ?? '' },
    text: t(`status.${status}`),
  });
}

function time(at) {
  return h('time', { datetime: at, title: at, text: dayAndTime(Date.parse(at)) });
}

/** How long after its reservation an order was recorded. */
function settled({ reserved_at: reservedAt, settled_at: settledAt }) {
  if (settledAt === null) return '–';
  const afterMs = Date.parse(settledAt) - Date.parse(reservedAt);
  const after = () => t('orders.after', { ms: count(Math.max(0, afterMs)) });
  const text = reservedAt === null ? timeOfDay(Date.parse(settledAt)) : after();
  return h('time', { datetime: settledAt, title: settledAt, text });
}

/** Why it was rejected, or until when it is held. */
function more({ reason, expires_at: expiresAt }) {
  if (reason !== null)
    return h('small', { text: hasText(`reason.${reason}`) ? t(`reason.${reason}`) : reason });
  if (expiresAt === null) return null;
  return h('small', { text: t('orders.until', { time: timeOfDay(Date.parse(expiresAt)) }) });
}

function reservation(id) {
  const copy = h(
    'button',
    { class: 'link', type: 'button', on: { click: () => copyText(copy, id) } },
    t('orders.copy'),
    h('span', { class: 'said-only', text: ` ${id}` }),
  );
  return h(
    'span',
    { class: 'reservation' },
    // What buyers are told of it; elsewhere, as this page forgets who is signed in when it is left.
    h('a', { href: `/api/orders/${id}`, target: '_blank', rel: 'noreferrer', text: id }),
    copy,
  );
}

async function copyText(copy, id) {
  try {
    // Not there without TLS.
    await navigator.clipboard.writeText(id);
    announce(t('orders.copied'));
    copy.firstChild.textContent = t('orders.copied');
  } catch {
    getSelection().selectAllChildren(copy.previousElementSibling);
    announce(t('orders.selected'));
    copy.firstChild.textContent = t('orders.selected');
  }
  setTimeout(() => {
    copy.firstChild.textContent = t('orders.copy');
  }, 2000);
}
