// The one sale that is shown large, and the verdict on all of them.

import { byId, setText } from '../base/dom.js';
import { count, rate } from '../base/format.js';
import { t } from '../base/i18n.js';
import { endWords } from './words.js';

/** The colour of a state, beside its word. */
export const STATE_TONES = {
  open: 'good',
  opening: 'good',
  scheduled: 'info',
  paused: 'warn',
  sold_out: 'accent',
  closed: '',
};

/** Shows `sale` (undefined while there is none); `chosen` when a person chose it. */
export function showHero(sale, chosen, totals) {
  byId('hero-follow').hidden = !chosen;
  byId('hero-state').hidden = !sale;
  showVerdict(totals.oversoldUnits);
  if (!sale) {
    setText(byId('hero-name'), t('hero.none'));
    return;
  }
  setText(byId('hero-name'), sale.name);
  setText(byId('hero-why'), t(chosen ? 'hero.chosen' : 'hero.busiest'));
  const state = byId('hero-state');
  state.dataset.tone = STATE_TONES[sale.state] ?? '';
  setText(state, t(`state.${sale.state}`));
  setText(byId('hero-stock'), count(sale.stock));
  // Many digits are set smaller, so that they stay on their line.
  byId('hero-stock').dataset.digits = String(count(sale.stock).length);
  setText(byId('hero-of'), t('hero.of', { total: count(sale.total) }));
  byId('hero-meter').style.transform = `scaleX(${sale.percent / 100})`;
  setText(byId('hero-pace'), rate(sale.perSecond));
  setText(byId('hero-sold'), count(sale.total - sale.stock));
  setText(byId('hero-open'), count(sale.book?.open_units));
  showEnd(sale);
}

function showEnd(sale) {
  const { label, value, detail } = endWords(sale);
  byId('hero-end').dataset.kind = sale.end.kind;
  setText(byId('end-label'), label);
  byId('end-value').hidden = value === null;
  setText(byId('end-value'), value ?? '');
  setText(byId('end-detail'), detail);
}

function showVerdict(units) {
  const tone = units === null || units === undefined ? 'unknown' : units === 0 ? 'good' : 'bad';
  byId('verdict').dataset.tone = tone;
  setText(byId('oversold'), count(units));
  setText(byId('oversold-word'), t(`oversold.${tone}`));
}
