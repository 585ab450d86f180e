// The operator's desk: what is known of the sales, what is done to them, and what became of it.
//
// Views show it and ask it; it knows none of them.

import { setText } from '../base/dom.js';
import { t } from '../base/i18n.js';
import { Catalogue } from './catalogue.js';
import { News } from './news.js';

/** What is said after each change of a sale's state. */
const DONE = {
  pause: 'pause.done',
  resume: 'resume.done',
  close: 'close.done',
  reset: 'reset.done',
};
/** A sale that is hot sends twenty frames a second. */
const LOAD_SOON_MS = 500;

export class Desk {
  catalogue = new Catalogue();
  news = new News();
  api;
  clock;
  /** What was last said of a sale, by product: `{tone, words}`. */
  notices = new Map();
  /** Products that turned out not to be resettable. */
  notResettable = new Set();
  #onChange;
  /** How to ask again for a change Redis did not have yet, by product. */
  #again = new Map();
  #timer = null;

  /** `onChange()` whenever something shown may have changed. */
  constructor({ api, clock, onChange }) {
    this.api = api;
    this.clock = clock;
    this.#onChange = onChange;
  }

  /** Server time. */
  nowMs() {
    return this.clock.at(Date.now());
  }

  /** Takes a message of the feed. */
  hear(message) {
    if (this.catalogue.isUnknown(message)) this.#loadSoon();
    else if (this.catalogue.hear(message, Date.now())) this.#onChange();
  }

  /** Reads the list of products anew; the feed goes on without it. */
  async load() {
    const products = await read('/api/products');
    if (products === null) return;
    this.catalogue.list(products.products, Date.now());
    this.#onChange();
  }

  /** Edges list a new sale within a second; until then its frames say nothing of its name. */
  #loadSoon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.load();
    }, LOAD_SOON_MS);
  }

  /** One product as it is listed; null when it is not, or nobody answers. */
  find(id) {
    return read(`/api/products/${id}`);
  }

  /** Pauses, resumes, closes or resets a sale; the outcome. */
  async change(sale, what) {
    const ask = () => this.api.post(`/products/${sale.product_id}/${what}`);
    const outcome = await ask();
    if (outcome.problem?.code === 'RESET_NOT_ALLOWED') this.notResettable.add(sale.product_id);
    if (outcome.kind === 'done') this.answered(outcome.body, () => t(DONE[what]), ask, true);
    this.#onChange();
    return outcome;
  }

  /** Takes the sale a change answered, perhaps one of its state; `ask` makes the same again. */
  answered(stored, words, ask, isOfState = false) {
    this.catalogue.answer(stored, isOfState, Date.now());
    if (stored.applied) this.#again.delete(stored.product_id);
    else this.#again.set(stored.product_id, { ask, isOfState });
    this.say(stored, 'good', words, stored.applied ? '' : 'applied.not');
  }

  /** Asks once more for a change Redis did not have yet. */
  async askAgain(sale) {
    const { ask, isOfState } = this.#again.get(sale.product_id);
    const outcome = await ask();
    const { kind, body } = outcome;
    if (kind === 'done')
      this.answered(body, () => (body.applied ? t('applied.now') : ''), ask, isOfState);
    return outcome;
  }

  /** Takes what an adjustment answered. */
  adjusted(adjusted) {
    this.catalogue.adjusted(adjusted, Date.now());
  }

  /**
   * Says what became of something, at the sale and in the news; `words()` in the language there is.
   * `but` is the key of what was not done yet, which the sale itself says while it is so.
   */
  say({ product_id: id, name }, tone, words, but = '') {
    // Whoever signs in next did not ask for it.
    if (!this.api.isSignedIn) return;
    this.notices.set(id, { tone, words });
    const news = () =>
      [`${name}:`, words(), but === '' ? '' : t(but)].filter((text) => text !== '').join(' ');
    this.news.tell(but === '' ? tone : 'warn', news);
    this.#onChange();
  }

  /** Forgets what only this operator was told. */
  clear() {
    this.news.clear();
    this.notices.clear();
  }
}

async function read(path) {
  try {
    const response = await fetch(path, { cache: 'no-store' });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/** Sets a text and hides the element without one. */
export function sayIn(element, text) {
  element.hidden = text === '';
  setText(element, text);
}
