// Whether the books add up, as the leading settler last saw it.

import { h, setText } from '../base/dom.js';
import { count, timeOfDay } from '../base/format.js';
import { t } from '../base/i18n.js';
import { button, whileBusy } from './form.js';
import { durationText, outcomeTone, problemText } from './words.js';

/** A settler looks every ten seconds; after six times that, nobody seems to look. */
const STALE_AFTER_MS = 60_000;

/** What each finding is called here, by the sentence the settler has for it. */
const FINDINGS = {
  'units are neither in stock nor in an order': 'finding.lost',
  'the total was changed by no adjustment': 'finding.unexplained',
  'the stock is negative': 'finding.negative',
  'buyers hold more than the limit': 'finding.overLimit',
  'Redis can reserve units that are not there': 'finding.notThere',
  'units are reserved and nobody will settle them': 'finding.unsettled',
};

/** What a report comes to: `good`, `bad`, or `stale` when it is too old to say. Pure. */
export function judgeReport(report, nowMs) {
  if (!report.holds) return 'bad';
  return nowMs - Date.parse(report.checked_at) > STALE_AFTER_MS ? 'stale' : 'good';
}

const TONE = { good: 'good', bad: 'bad', stale: 'warn' };

export class ReconcileView {
  #desk;
  #onVerdict;
  #report = null;
  #failure = null;
  #parts = null;

  /** `onVerdict(verdict)` with `good`, `bad`, `stale` or `unknown` after each look. */
  constructor(desk, onVerdict) {
    this.#desk = desk;
    this.#onVerdict = onVerdict;
  }

  /** Asks for the last report. */
  async load() {
    const outcome = await this.#desk.api.read('/reconcile');
    if (outcome.kind === 'done') this.#report = outcome.body;
    this.#failure = outcome.kind === 'done' ? null : outcome;
    this.#onVerdict(this.verdict());
    this.#show();
  }

  verdict() {
    return this.#report && !this.#failure
      ? judgeReport(this.#report, this.#desk.nowMs())
      : 'unknown';
  }

  clear() {
    this.#report = null;
    this.#failure = null;
  }

  build() {
    this.#parts = {
      notice: h('p', { class: 'notice', hidden: true }),
      verdict: h('p', { class: 'verdict', id: 'verdict' }),
      age: h('p', { class: 'age' }),
      broker: h('dl', { class: 'figures' }),
      books: h('ol', { class: 'books' }),
    };
    const { notice, verdict, age, broker, books } = this.#parts;
    const look = button(t('books.look'), null, {
      click: () => whileBusy(element, () => this.load()),
      id: 'look',
    });
    const element = h(
      'section',
      { class: 'card view books-view', 'aria-labelledby': 'books-title' },
      h(
        'div',
        { class: 'card-head' },
        h('h2', { id: 'books-title', text: t('books.title') }),
        look,
      ),
      notice,
      h('div', { class: 'verdict-line' }, verdict, age),
      broker,
      books,
    );
    this.#show();
    return element;
  }

  /** The age goes on. */
  refresh() {
    if (!this.#parts || !this.#report) return;
    const seconds = Math.max(
      0,
      Math.round((this.#desk.nowMs() - Date.parse(this.#report.checked_at)) / 1000),
    );
    const old = durationText(seconds >= 120 ? Math.floor(seconds / 60) * 60 : seconds);
    setText(
      this.#parts.age,
      t('books.age', { old, time: timeOfDay(Date.parse(this.#report.checked_at)) }),
    );
    const verdict = judgeReport(this.#report, this.#desk.nowMs());
    this.#parts.verdict.dataset.tone = TONE[verdict];
    setText(this.#parts.verdict, t(`books.${verdict}`));
  }

  #show() {
    if (!this.#parts) return;
    const { notice, broker, books } = this.#parts;
    notice.hidden = this.#failure === null;
    if (this.#failure) {
      notice.dataset.tone = outcomeTone(this.#failure);
      const none = this.#failure.problem.detail?.startsWith('no settler');
      setText(notice, none ? t('books.nobody') : problemText(this.#failure.problem));
    }
    if (!this.#report) return;
    const { queue, dead_letters: dead, products } = this.#report;
    broker.replaceChildren(figure('books.queue', queue), figure('books.dead', dead));
    books.replaceChildren(...products.map((product) => this.#product(product)));
    this.refresh();
  }

  #product(books) {
    const {
      product_id: id,
      total,
      stock,
      holding,
      available,
      open,
      outbox,
      quiet,
      findings,
    } = books;
    const name = this.#desk.catalogue.get(id)?.name ?? '';
    const tone = findings.length === 0 ? 'good' : 'bad';
    return h(
      'li',
      { data: { product: id } },
      h(
        'div',
        { class: 'books-head' },
        h('h3', { text: `${name} ` }, h('small', { text: t('sale.number', { number: id }) })),
        h('span', {
          class: 'badge',
          data: { tone },
          text: t(tone === 'good' ? 'books.adds' : 'books.differs'),
        }),
        h('span', { class: 'badge', text: t(quiet ? 'books.quiet' : 'books.moving') }),
      ),
      h('p', {
        class: 'equation',
        text: t('books.equation', {
          total: count(total),
          stock: count(stock),
          holding: count(holding),
        }),
      }),
      h(
        'dl',
        { class: 'facts' },
        figure('books.available', available),
        figure('books.open', open),
        figure('books.outbox', outbox),
      ),
      findings.length === 0 ? null : h('ul', { class: 'findings' }, ...findings.map(finding)),
    );
  }
}

function figure(key, value) {
  return h(
    'div',
    {},
    h('dt', { text: t(key) }),
    h('dd', { text: value === null ? t('books.away') : count(value) }),
  );
}

function finding({ invariant, amount, detail }) {
  const key = FINDINGS[detail];
  const text = key
    ? t(key, { n: Math.abs(amount), amount: count(amount) })
    : `${detail}: ${count(amount)}`;
  return h(
    'li',
    { class: 'notice', data: { tone: 'bad' } },
    h('b', { text: `${invariant} · ` }),
    text,
  );
}
