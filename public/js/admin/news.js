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
  #none = h('p', { class: 'none' });

  /** Says what became of something, to a screen reader, too. */
  tell(tone, text) {
    this.#entries.unshift({ tone, text, atMs: Date.now() });
    this.#entries.length = Math.min(this.#entries.length, ENTRIES_MAX);
    announce(text);
    this.#show();
  }

  /** Forgets everything. */
  clear() {
    this.#entries = [];
    this.#show();
  }

  /** A card with everything. */
  build() {
    this.#list = h('ol', { class: 'news' });
    this.#none = h('p', { class: 'none', text: t('news.none') });
    this.#show();
    return h('section', { class: 'card', 'aria-labelledby': 'news-title' },
      h('h2', { id: 'news-title', class: 'small-title', text: t('news.title') }), this.#none, this.#list);
  }

  #show() {
    this.#none.hidden = this.#entries.length > 0;
    this.#list.replaceChildren(...this.#entries.map(({ tone, text, atMs }) => h('li', { data: { tone } },
      h('time', { text: timeOfDay(atMs), datetime: new Date(atMs).toISOString() }),
      h('span', { class: 'badge', data: { tone }, text: t(`news.${tone}`) }),
      h('span', { text }))));
  }
}
