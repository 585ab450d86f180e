// What was done since signing in, newest first: an operator sees what became of each request.

import { h } from '../base/dom.js';
import { announce } from '../base/frame.js';
import { timeOfDay } from '../base/format.js';
import { t } from '../base/i18n.js';

/** A morning's work; what is older is in the servers' logs. */
const ENTRIES_MAX = 50;

export class News {
  #entries = [];
  #list = h('ol', { class: 'news' });
  #card = null;

  /** Says what became of something, to a screen reader, too; `words()` in the language there is. */
  tell(tone, words) {
    this.#entries.unshift({ tone, words, atMs: Date.now() });
    this.#entries.length = Math.min(this.#entries.length, ENTRIES_MAX);
    announce(words());
    this.#show();
  }

  /** Forgets everything. */
  clear() {
    this.#entries = [];
    this.#show();
  }

  /** A card with everything; hidden while there is nothing. */
  build() {
    this.#list = h('ol', { class: 'news' });
    this.#card = h(
      'section',
      { class: 'card', id: 'news', 'aria-labelledby': 'news-title' },
      h('h2', { id: 'news-title', class: 'small-title', text: t('news.title') }),
      this.#list,
    );
    this.#show();
    return this.#card;
  }

  #show() {
    if (this.#card) this.#card.hidden = this.#entries.length === 0;
    this.#list.replaceChildren(
      ...this.#entries.map(({ tone, words, atMs }) =>
        h(
          'li',
          { data: { tone } },
          h('time', { text: timeOfDay(atMs), datetime: new Date(atMs).toISOString() }),
          h('span', { class: 'badge', data: { tone }, text: t(`news.${tone}`) }),
          h('span', { text: words() }),
        ),
      ),
    );
  }
}
