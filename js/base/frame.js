// The frame every page has: the bar with its places, the connection, language and theme; the foot.

import { byId, h, setText } from './dom.js';
import { LANGUAGES, currentLanguage, switchLanguage, t } from './i18n.js';
import { THEMES, showTheme, storedTheme } from './theme.js';

const PLACES = [
  ['./', 'place.shop'],
  ['live.html', 'place.live'],
  ['admin.html', 'place.admin'],
];

showTheme(storedTheme());

/** Fills `#bar` and `#foot`. `here` is the page's file name, `./` for the shop. */
export function mountFrame(here) {
  // Buyers have no use for the operators' page.
  const shown = here === './' ? PLACES.slice(0, 2) : PLACES;
  const places = shown.map(([href, key]) =>
    h('a', {
      href,
      text: t(key),
      'aria-current': href === here ? 'page' : null,
    }),
  );
  byId('bar').append(
    h('a', { class: 'skip', href: '#main', text: t('frame.skip') }),
    h(
      'a',
      { class: 'brand', href: './' },
      h('img', { src: 'favicon.svg', alt: '', width: 28, height: 28 }),
      t('frame.brand'),
    ),
    h('nav', { class: 'places', 'aria-label': t('frame.places') }, ...places),
    h('div', { class: 'tools' }, connection(), languages(), themes()),
  );
}

function connection() {
  return h('p', {
    class: 'connection',
    id: 'connection',
    role: 'status',
    data: { state: 'connecting' },
    hidden: true,
  });
}

/** Says whether what is shown is live: `connecting`, `live`, `stale` or `offline`. */
export function showConnection(state) {
  const element = byId('connection');
  element.hidden = false;
  element.dataset.state = state;
  setText(element, t(`connection.${state}`));
}

/** The languages that are not shown, each in its own words. */
function languages() {
  const others = Object.entries(LANGUAGES).filter(([tag]) => tag !== currentLanguage());
  return h(
    'span',
    { id: 'languages' },
    ...others.map(([tag, name]) =>
      h('button', {
        class: 'button quiet small',
        type: 'button',
        lang: tag,
        text: name,
        data: { language: tag },
        on: { click: () => switchLanguage(tag) },
      }),
    ),
  );
}

function themes() {
  const button = h('button', { class: 'button quiet small', type: 'button', id: 'theme' });
  const show = () => setText(button, t(`theme.${storedTheme()}`));
  button.addEventListener('click', () => {
    showTheme(THEMES[(THEMES.indexOf(storedTheme()) + 1) % THEMES.length]);
    show();
  });
  show();
  return button;
}

/** Speaks to a screen reader, after what it is saying. Only for what the visitor must hear. */
export function announce(text) {
  // Two in one tick are both read: each is its own paragraph, and old ones go.
  const teller = byId('announcer');
  teller.append(h('p', { text }));
  while (teller.childElementCount > 3) teller.firstElementChild.remove();
}
