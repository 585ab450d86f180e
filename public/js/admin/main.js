// Wires the page: who is signed in, which view is shown, and what the feed says into both.

import { ServerClock } from '../base/clock.js';
import { byId, h, setText } from '../base/dom.js';
import { Feed } from '../base/feed.js';
import { announce, mountFrame, showConnection } from '../base/frame.js';
import { loadTexts, onLanguage, t } from '../base/i18n.js';
import { Api } from './api.js';
import { Desk } from './desk.js';
import { closeDialogs } from './form.js';
import { OrdersView } from './orders.js';
import { ReconcileView } from './reconcile.js';
import { SalesView } from './sales.js';
import { Session } from './session.js';
import { SignIn } from './sign-in.js';

/** Names and prices are not on the feed; who else changes them is seen this soon. */
const LIST_EVERY_MS = 10_000;
const PLACES = ['sales', 'orders', 'books'];

await loadTexts('admin');

const session = new Session({ onWarn: showWarning, onEnd: (reason) => show(reason) });
const clock = new ServerClock();
const desk = new Desk({ api: new Api(session), clock, onChange: () => views.sales.refresh() });
const views = {
  sales: new SalesView(desk, (id) => {
    views.orders.open(id);
    go('orders');
  }),
  orders: new OrdersView(desk),
  books: new ReconcileView(desk, showVerdict),
};
const signIn = new SignIn(async (token) => {
  session.begin(token);
  await desk.load();
  views.books.load();
  show();
  byId('place').focus();
});
let connection = 'connecting';

/** The view the address names; it names nothing else. */
const here = () => PLACES.find((place) => location.hash === `#${place}`) ?? PLACES[0];

function go(place) {
  if (here() === place) show();
  else location.hash = place;
}

/** Shows the page as it is now; `reason` is why a session just ended. */
function show(reason = null) {
  if (reason !== null) {
    closeDialogs();
    desk.clear();
    views.orders.clear();
    views.books.clear();
  }
  if (!session.isOpen) {
    byId('main').replaceChildren(signIn.build(reason));
    signIn.focus();
    return;
  }
  const view = views[here()].build();
  byId('main').replaceChildren(head(), view);
  showVerdict(views.books.verdict());
}

function head() {
  const links = PLACES.map((place) =>
    h(
      'a',
      {
        href: `#${place}`,
        'aria-current': place === here() ? 'page' : null,
        data: { place },
      },
      t(`place.${place}`),
      place === 'books' ? h('span', { id: 'verdict-mark', class: 'badge', hidden: true }) : null,
    ),
  );
  return h(
    'div',
    { class: 'desk-head' },
    h('h1', { id: 'place', tabindex: '-1', text: t('admin.heading') }),
    h('nav', { class: 'places', 'aria-label': t('admin.views') }, ...links),
    h('button', {
      class: 'button quiet small',
      type: 'button',
      id: 'sign-out',
      text: t('signout.do'),
      on: { click: () => session.end('left') },
    }),
  );
}

function showVerdict(verdict) {
  const mark = byId('verdict-mark');
  if (!mark) return;
  mark.hidden = verdict === 'unknown';
  mark.dataset.tone = { good: 'good', bad: 'bad', stale: 'warn' }[verdict] ?? '';
  setText(mark, verdict === 'unknown' ? '' : t(`mark.${verdict}`));
}

function showWarning(soon) {
  byId('idle-warning')?.remove();
  if (!soon) return;
  const text = t('signout.soon');
  byId('main').prepend(
    h('p', { class: 'notice', id: 'idle-warning', data: { tone: 'warn' }, text }),
  );
  announce(t('signout.soon'));
}

function mountPage() {
  mountFrame('admin.html');
  byId('foot').replaceChildren(h('p', { text: t('admin.foot') }));
  showConnection(connection);
  show();
}

onLanguage(async () => {
  await loadTexts('admin');
  mountPage();
  document.querySelector('#languages button').focus();
});
addEventListener('hashchange', () => {
  if (!session.isOpen) return;
  show();
  byId('place').focus();
});
mountPage();

new Feed(
  '/ws',
  (message) => {
    if (message.server_time) clock.hear(message.server_time, Date.now());
    desk.hear(message);
  },
  (state) => {
    connection = state;
    showConnection(state);
  },
);
setInterval(() => {
  views.sales.refresh();
  views.books.refresh();
}, 1000);
setInterval(() => {
  if (!session.isOpen || document.visibilityState === 'hidden') return;
  desk.load();
  views.books.load();
}, LIST_EVERY_MS);
