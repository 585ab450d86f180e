// The two charts: what is left of the sales that fell furthest, and answers a second.

import { Chart, History } from '../base/chart.js';
import { byId, h, setText } from '../base/dom.js';
import { count, rate } from '../base/format.js';
import { t } from '../base/i18n.js';
import { ANSWERS } from './health.js';
import { LINES_MAX, SPAN_S, keepPlaces } from './shares.js';

/** Lines differ by pattern as well as by colour; `live.css` draws the same beside each name. */
const PATTERNS = [[], [12, 5], [3, 4], [14, 4, 3, 4]];
const ANSWER_LINES = {
  accepted: { color: '--good', dash: [], width: 3 },
  sold_out: { color: '--series-4', dash: [12, 5], width: 2 },
  refused: { color: '--series-3', dash: [14, 4, 3, 4], width: 2 },
  failed: { color: '--bad', dash: [5, 3], width: 3 },
  replayed: { color: '--series-2', dash: [3, 4], width: 2 },
};
/** Which sales have a line changes no more often than this. */
const CHOOSE_EVERY_MS = 5_000;

const percent = (value) => `${Math.round(value)} %`;

/** A name with its line in front and its newest value behind. */
function key(line, label, value) {
  return h(
    'div',
    { data: { line } },
    h('dt', {}, h('i', { class: 'key', 'aria-hidden': 'true' }), h('span', { text: label })),
    value,
  );
}

export class StockChart {
  #places = [];
  #shownId = null;
  #names = '';
  #chosenMs = -Infinity;
  #history = new History(0, SPAN_S);
  #chart = null;
  #values = new Map();

  /** Draws the lines of a picture; `shares` is what is left of each sale over time. */
  show({ sales, nowMs }, shownId, shares) {
    const ids = sales.map(({ id }) => id);
    const gone = this.#places.some((id) => id !== null && !ids.includes(id));
    const room = this.#values.size < Math.min(LINES_MAX, ids.length);
    if (gone || room || shownId !== this.#shownId || nowMs - this.#chosenMs >= CHOOSE_EVERY_MS) {
      this.#chosenMs = nowMs;
      this.#shownId = shownId;
      this.#places = keepPlaces(this.#places, shares.choose(ids, shownId));
    }
    const lines = this.#places.flatMap((id, place) =>
      id === null ? [] : [{ place, sale: sales.find((sale) => sale.id === id) }],
    );
    this.#history.columns = shares.columns(lines.map(({ sale }) => sale.id));
    const names = JSON.stringify(
      lines.map(({ place, sale }) => [place, sale.id, sale.name, sale.id === shownId]),
    );
    if (names !== this.#names) this.#setLines(lines);
    this.#names = names;
    for (const { sale } of lines) setText(this.#values.get(sale.id), percent(sale.percent));
    this.#chart?.draw();
  }

  end() {
    this.#chart?.end();
  }

  #setLines(lines) {
    const series = lines.map(({ place, sale }) => ({
      label: sale.name,
      color: `--series-${place + 1}`,
      dash: PATTERNS[place],
      width: sale.id === this.#shownId ? 3 : 2,
    }));
    this.#values = new Map(lines.map(({ sale }) => [sale.id, h('dd')]));
    byId('stock-keys').replaceChildren(
      ...lines.map(({ place, sale }) =>
        key(String(place + 1), sale.name, this.#values.get(sale.id)),
      ),
    );
    if (this.#chart) this.#chart.setSeries(series);
    else if (lines.length > 0) {
      this.#chart = new Chart(byId('stock-chart'), this.#history, {
        title: t('stock.title'),
        spanS: SPAN_S,
        stepped: true,
        least: 100,
        format: percent,
        series,
      });
    }
  }
}

export class AnswersChart {
  #chart;
  #values;
  #drawn = null;

  constructor(history) {
    this.#values = ANSWERS.map((name) => h('dd', { text: '–' }));
    byId('answers-keys').append(
      ...ANSWERS.map((name, i) => key(name, t(`answer.${name}`), this.#values[i])),
    );
    this.#chart = new Chart(byId('answers-chart'), history, {
      title: t('answers.title'),
      spanS: SPAN_S,
      format: count,
      series: ANSWERS.map((name) => ({ label: t(`answer.${name}`), ...ANSWER_LINES[name] })),
    });
  }

  /** Shows the answers of a picture, and the history they are the newest of. */
  show({ answers }, history) {
    ANSWERS.forEach((name, i) => setText(this.#values[i], rate(answers?.[name])));
    const newest = history.columns[0].at(-1) ?? null;
    if (newest === this.#drawn && history === this.#chart.history) return;
    this.#drawn = newest;
    this.#chart.history = history;
    this.#chart.draw();
  }

  end() {
    this.#chart.end();
  }
}
