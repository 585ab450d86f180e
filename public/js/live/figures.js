// The way of an order in figures, and one tile a process.

import { byId, h, setText } from '../base/dom.js';
import { count, rate } from '../base/format.js';
import { t } from '../base/i18n.js';
import { age, duration } from './words.js';

/** Name, what it shows, and what stands beside it: null or `[text, tone]`. */
const PATH = [
  ['p50', ({ latency }) => duration(latency?.p50)],
  ['p99', ({ latency }) => duration(latency?.p99)],
  ['open', ({ totals }) => count(totals.openUnits)],
  [
    'outbox',
    ({ totals }) => count(totals.outboxDepth),
    ({ totals }) =>
      totals.outboxDepth > 0
        ? [t('path.outbox_age', { age: duration(totals.outboxOldestMs) }), '']
        : null,
  ],
  ['queue', ({ queueMessages }) => count(queueMessages)],
  ['settled', ({ totals }) => rate(totals.settledPerSecond)],
  [
    'dead',
    ({ deadLetters }) => count(deadLetters),
    ({ deadLetters }) => (deadLetters > 0 ? [t('path.dead_word'), 'warn'] : null),
  ],
  ['clients', ({ totals }) => count(totals.clients)],
];

/** Makes the figures, once; shows a picture in them from then on. */
export function makePath() {
  const shown = PATH.map(([name, value, note]) => {
    const figure = h('span', { id: `path-${name}` });
    const small = h('small');
    byId('path').append(
      h('div', {}, h('dt', { text: t(`path.${name}`) }), h('dd', {}, figure, ' ', small)),
    );
    return (picture) => {
      const [text, tone] = note?.(picture) ?? ['', ''];
      setText(figure, value(picture));
      setText(small, text);
      small.dataset.tone = tone;
    };
  });
  return (picture) => shown.forEach((show) => show(picture));
}

const TILE_TONES = { ready: 'good', not_ready: 'warn', silent: 'bad' };

export class Tiles {
  #tiles = new Map();

  show({ edges, settlers }) {
    const all = [
      ...edges.map((tile) => ({ ...tile, key: `edge ${tile.name}`, edge: true })),
      ...settlers.map((tile) => ({ ...tile, key: `settler ${tile.name}`, edge: false })),
    ];
    const keys = new Set(all.map(({ key }) => key));
    for (const [key, { node }] of this.#tiles) {
      if (keys.has(key)) continue;
      node.remove();
      this.#tiles.delete(key);
    }
    all.forEach((tile, i) => {
      if (!this.#tiles.has(tile.key)) this.#tiles.set(tile.key, makeTile(tile));
      const made = this.#tiles.get(tile.key);
      if (byId('tiles').children[i] !== made.node) {
        byId('tiles').insertBefore(made.node, byId('tiles').children[i] ?? null);
      }
      showTile(made, tile);
    });
  }
}

function makeTile({ name, edge }) {
  const [state, leads, figure, details, heard] = ['b', 'span', 'span', 'span', 'span'].map((tag) =>
    h(tag),
  );
  state.className = 'tile-state';
  leads.className = 'badge';
  figure.className = 'tile-figure figure';
  const unit = h('small', { text: t(edge ? 'tile.answers' : 'tile.settled') });
  const node = h(
    'li',
    { class: 'tile', data: { process: name } },
    h('p', { class: 'tile-head' }, h('strong', { text: name }), state),
    h('p', {}, figure, ' ', unit, ' ', leads),
    h('p', { class: 'soft tile-foot' }, details, heard),
  );
  leads.textContent = t('tile.leads');
  return { node, state, leads, figure, details, heard };
}

function showTile({ node, state, leads, figure, details, heard }, tile) {
  const silent = tile.status === 'silent';
  node.dataset.tone = TILE_TONES[tile.status];
  setText(state, t(`tile.${tile.status}`));
  leads.hidden = silent || !tile.leads;
  const perSecond = tile.edge ? tile.requests_per_second : tile.settled_per_second;
  setText(figure, silent ? '–' : rate(perSecond));
  setText(details, tile.edge && !silent ? crowdOf(tile) : '');
  setText(heard, t('tile.heard', { age: age(tile.ageMs) }));
}

/** Who is connected to an edge. */
function crowdOf({ connections, ws_clients: clients }) {
  return `${t('tile.connections', { n: connections })} · ${t('tile.clients', { n: clients })}`;
}
