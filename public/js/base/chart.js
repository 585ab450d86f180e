// Lines over the last minutes, each with a table beside it for those who do not see lines.

import uPlot from '../../vendor/uplot-1.6.32/uPlot.esm.js';
import { h, setText } from './dom.js';
import { timeOfDay } from './format.js';
import { t } from './i18n.js';
import { color, onColors } from './theme.js';

/** Before that much is known, the lines start at the left edge. */
const SPAN_MIN_S = 15;
/** Rows of the table: the newest points, evenly spread. */
const TABLE_ROWS = 10;

/** Points of some series, at most `spanS` seconds of them; a gap where nothing is known. */
export class History {
  #spanS;
  /** Times in seconds, then the values of each series. */
  columns;

  constructor(series, spanS) {
    this.#spanS = spanS;
    this.columns = [[], ...Array.from({ length: series }, () => [])];
  }

  add(timeMs, values) {
    const time = timeMs / 1000;
    [time, ...values].forEach((value, i) => this.columns[i].push(value ?? null));
    const first = this.columns[0].findIndex((at) => at >= time - this.#spanS - 2);
    if (first > 0) for (const column of this.columns) column.splice(0, first);
  }

  /** The rows of a table: the newest, and others evenly back from it. */
  rows() {
    const length = this.columns[0].length;
    const step = Math.max(1, Math.floor(length / TABLE_ROWS));
    const rows = [];
    for (let i = length - 1; i >= 0 && rows.length < TABLE_ROWS; i -= step) {
      rows.push(this.columns.map((column) => column[i]));
    }
    return rows;
  }
}

/** Characters of the longest label; uPlot asks before there are any. */
const widest = (labels) => Math.max(3, ...(labels ?? []).map((label) => String(label).length));

export class Chart {
  #element;
  #options;
  #table;
  #sized = new ResizeObserver(() => this.#resize());
  #endColors;
  #plot = null;
  #drawnPx = 0;

  /**
   * Draws into `element` (class `chart`) and puts a table behind it. `options`: `title`, `spanS`,
   * `stepped`, `fill`, `format(value)`, `series`: an array of `{ label, color, dash, width }`,
   * colours being tokens of tokens.css. `history` has one column a series. Text is as large as the
   * element's.
   */
  constructor(element, history, options) {
    this.#element = element;
    this.history = history;
    this.#options = { stepped: false, fill: false, format: String, ...options };
    element.setAttribute('role', 'img');
    element.setAttribute('aria-label', this.#options.title);
    this.#table = this.#makeTable();
    this.#sized.observe(element);
    this.#endColors = onColors(() => this.#rebuild());
    this.#rebuild();
  }

  /** Ends drawing: the element goes, and another chart takes its place. */
  end() {
    this.#sized.disconnect();
    this.#endColors();
    this.#plot.destroy();
  }

  /** Shows what the history has now. */
  draw() {
    this.#plot.setData(this.history.columns);
    if (this.#table.details.open) this.#fillTable();
  }

  /** Draws again with other series. */
  setSeries(series) {
    this.#options.series = series;
    const [time] = this.#table.head.children;
    this.#table.head.replaceChildren(time, ...this.#heads());
    this.#rebuild();
  }

  #heads() {
    return this.#options.series.map(({ label }) =>
      h('th', { class: 'number', scope: 'col', text: label }),
    );
  }

  #makeTable() {
    const body = h('tbody');
    const head = h('tr', {}, h('th', { scope: 'col', text: t('chart.time') }), ...this.#heads());
    const table = h(
      'table',
      {},
      h('caption', { text: this.#options.title }),
      h('thead', {}, head),
      body,
    );
    const details = h(
      'details',
      { on: { toggle: () => this.#fillTable() } },
      h('summary', { text: t('chart.table') }),
      h('div', { class: 'table-wrap' }, table),
    );
    this.#element.after(details);
    return { details, head, body };
  }

  #fillTable() {
    const { format } = this.#options;
    this.#table.body.replaceChildren(
      ...this.history
        .rows()
        .map(([time, ...values]) =>
          h(
            'tr',
            {},
            h('td', { text: timeOfDay(time * 1000) }),
            ...values.map((value) =>
              h('td', { class: 'number', text: value === null ? '–' : format(value) }),
            ),
          ),
        ),
    );
  }

  #resize() {
    if (this.#textPx() === this.#drawnPx) this.#plot.setSize(this.#size());
    else this.#rebuild();
  }

  #textPx() {
    return parseFloat(getComputedStyle(this.#element).fontSize);
  }

  #size() {
    return { width: this.#element.clientWidth, height: this.#element.clientHeight };
  }

  #series() {
    const { series, stepped, fill } = this.#options;
    return series.map(({ label, color: token, dash, width }) => ({
      label,
      stroke: color(token),
      width: width ?? 2,
      dash,
      fill: fill ? color('--accent-wash') : undefined,
      paths: stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
      points: { show: false },
    }));
  }

  #rebuild() {
    this.#plot?.destroy();
    this.#drawnPx = this.#textPx();
    const em = this.#drawnPx;
    const { spanS, format } = this.#options;
    const axis = {
      stroke: color('--soft'),
      grid: { stroke: color('--line'), width: 1 },
      ticks: { show: false },
      font: `${this.#drawnPx}px system-ui, sans-serif`,
    };
    const back = (min, max) => Math.min(spanS, Math.max(SPAN_MIN_S, max - min));
    this.#plot = new uPlot(
      {
        ...this.#size(),
        // The newest time stands under the right end.
        padding: [null, 2 * em, null, null],
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { range: (_, min, max) => [max - back(min, max), max] },
          y: { range: (_, __, max) => [0, Math.max(this.#options.least ?? 10, (max ?? 0) * 1.05)] },
        },
        axes: [
          {
            ...axis,
            values: (_, ticks) => ticks.map((time) => timeOfDay(time * 1000)),
            space: 7.5 * em,
            size: 2.5 * em,
          },
          {
            ...axis,
            values: (_, ticks) => ticks.map(format),
            size: (_, labels) => widest(labels) * 0.65 * em + em,
          },
        ],
        series: [{}, ...this.#series()],
      },
      this.history.columns,
      this.#element,
    );
  }
}

/** A legend in words: colour, name, and an element for the newest value of each series. */
export function legend(series) {
  return series.map(({ label, color: token }) => {
    const swatch = h('i', { class: 'swatch', 'aria-hidden': 'true' });
    swatch.style.background = `var(${token})`;
    const value = h('dd', { text: '–' });
    return {
      node: h('div', {}, h('dt', {}, swatch, label), value),
      show: (text) => setText(value, text),
    };
  });
}
