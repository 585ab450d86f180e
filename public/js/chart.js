// The stock as a step line over what the page has seen, at most the last two minutes.

import uPlot from '../vendor/uplot-1.6.32/uPlot.esm.js';

const SPAN_S = 120;
/** Before that much is known, the line starts at the left edge. */
const SPAN_MIN_S = 15;

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export class StockChart {
  #element;
  #plot = null;
  #times = [];
  #stocks = [];

  constructor(element) {
    this.#element = element;
    new ResizeObserver(() => this.#resize()).observe(element);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#rebuild());
    this.#rebuild();
  }

  /** Adds a point; `live` false leaves a gap, as nothing is known of that time. */
  add(timeMs, stock, live) {
    const time = timeMs / 1000;
    this.#times.push(time);
    this.#stocks.push(live ? stock : null);
    const first = this.#times.findIndex((t) => t >= time - SPAN_S - 2);
    if (first > 0) {
      this.#times.splice(0, first);
      this.#stocks.splice(0, first);
    }
    this.#plot.setData([this.#times, this.#stocks]);
  }

  #size() {
    return { width: this.#element.clientWidth, height: this.#element.clientHeight };
  }

  #resize() {
    this.#plot?.setSize(this.#size());
  }

  #rebuild() {
    this.#plot?.destroy();
    const axis = { stroke: token('--soft'), grid: { stroke: token('--line'), width: 1 }, ticks: { show: false } };
    const options = {
      ...this.#size(),
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      scales: {
        x: { range: (_, min, max) => [max - Math.min(SPAN_S, Math.max(SPAN_MIN_S, max - min)), max] },
        y: { range: (_, __, max) => [0, Math.max(10, (max ?? 0) * 1.05)] },
      },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString()), space: 90 },
        { ...axis, size: 56 },
      ],
      series: [
        {},
        {
          stroke: token('--accent'),
          width: 2,
          fill: token('--fill'),
          paths: uPlot.paths.stepped({ align: 1 }),
          points: { show: false },
        },
      ],
    };
    this.#plot = new uPlot(options, [this.#times, this.#stocks], this.#element);
  }
}
