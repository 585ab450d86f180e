// The last events, newest first, each with its time and a word for its tone.

import { byId, h } from '../base/dom.js';
import { timeOfDay } from '../base/format.js';
import { t } from '../base/i18n.js';
import { eventText } from './words.js';

export class Log {
  #newest = 0;

  show(events) {
    const fresh = events.filter(({ id }) => id > this.#newest);
    if (fresh.length === 0) return;
    this.#newest = events[0].id;
    byId('log-none').hidden = true;
    const list = byId('log');
    list.prepend(...fresh.map(lineOf));
    while (list.childElementCount > events.length) list.lastElementChild.remove();
  }
}

function lineOf(event) {
  return h(
    'li',
    { data: { tone: event.tone, kind: event.kind } },
    h('time', { datetime: new Date(event.atMs).toISOString(), text: timeOfDay(event.atMs) }),
    h(
      'span',
      { class: 'log-text' },
      h('span', { class: 'said-only', text: `${t(`tone.${event.tone}`)}: ` }),
      eventText(event),
    ),
  );
}
