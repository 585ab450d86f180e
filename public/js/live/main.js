// Wires the wall: the feed into what is collected, and a picture of it onto the page.

import { byId, setText } from '../base/dom.js';
import { Feed } from '../base/feed.js';
import { timeOfDay } from '../base/format.js';
import { announce, mountFrame, showConnection } from '../base/frame.js';
import { loadTexts, onLanguage, t, translate } from '../base/i18n.js';
import { AnswersChart, StockChart } from './charts.js';
import { Collector } from './collector.js';
import { Tiles, makePath } from './figures.js';
import { copyOf } from './health.js';
import { showHero } from './hero.js';
import { SaleList } from './list.js';
import { Log } from './log.js';
import { mountTools, showTools } from './tools.js';

/** Four times a second is as fast as figures can be read. */
const SHOW_EVERY_MS = 250;

/** Local time that nobody can set back. */
const localMs = () => performance.timeOrigin + performance.now();

await loadTexts('live');

/** The page before anything is shown in it: in another language all of it is made anew. */
const blank = byId('main').cloneNode(true);
const collector = new Collector();
/** What is shown while the view is paused: a picture, and what the charts had then. */
let frozen = null;
let chosenId = null;

let parts = makeParts();

/** Makes everything that has words, in the language there is. */
function makeParts() {
  document.title = `${t('live.title')} · ${t('frame.brand')}`;
  mountFrame('live.html');
  mountTools({ pause, csv: () => collector.health.records.toCsv() });
  byId('hero-follow').addEventListener('click', () => choose(chosenId));
  return {
    answersChart: new AnswersChart(collector.health.answers),
    stockChart: new StockChart(),
    list: new SaleList((id) => choose(id)),
    tiles: new Tiles(),
    log: new Log(),
    showPath: makePath(),
  };
}

function choose(id) {
  chosenId = id === chosenId ? null : id;
  show();
}

function pause() {
  frozen = frozen ? null : take();
  show();
}

/** Everything that is shown, as it is now; the lines are copied, as they grow. */
function take() {
  const { health, sales } = collector;
  return {
    picture: collector.picture(localMs()),
    answers: copyOf(health.answers),
    shares: sales.shares.copy(),
  };
}

function show() {
  const { picture, answers, shares } = frozen ?? {
    picture: collector.picture(localMs()),
    answers: collector.health.answers,
    shares: collector.sales.shares,
  };
  const chosen = picture.sales.find(({ id }) => id === chosenId);
  const shown = chosen ?? picture.sales.find(({ id }) => id === picture.hottestId);
  showFreshness(picture);
  showTools(picture.nowMs, frozen !== null);
  showHero(shown, chosen !== undefined, picture.totals);
  parts.list.show(picture.sales, shown?.id);
  parts.stockChart.show(picture, shown?.id, shares);
  parts.answersChart.show(picture, answers);
  parts.showPath(picture);
  parts.tiles.show(picture);
  parts.log.show(picture.events);
}

/** Says in one place how old the figures are, and lets them fade where they are not live. */
function showFreshness({ nowMs, fresh }) {
  const view = frozen ? 'paused' : fresh.stats.view;
  byId('main').dataset.view = view;
  for (const part of document.querySelectorAll('[data-part]')) {
    part.dataset.fresh = String(!frozen && fresh[part.dataset.part].view === 'live');
  }
  const since = { paused: nowMs, silent: fresh.stats.heardMs }[view];
  byId('strip').hidden = view === 'live';
  if (view !== 'live')
    setText(byId('strip'), t(`strip.${view}`, { time: since ? timeOfDay(since) : '' }));
  const connected = fresh.connection === 'live' && view !== 'live' && view !== 'waiting';
  showConnection(frozen || connected ? view : fresh.connection);
}

function hear(message) {
  const thresholds = collector.hear(message, localMs());
  // A view that stands still says nothing new.
  if (!frozen) for (const passed of thresholds) tell(passed);
}

function tell({ name, percent }) {
  announce(percent > 0 ? t('said.left', { name, percent }) : t('said.none', { name }));
}

// What was collected stays, and so do a pause, a chosen sale and full screen.
onLanguage(async () => {
  await loadTexts('live');
  parts.stockChart.end();
  parts.answersChart.end();
  byId('main').replaceWith(blank.cloneNode(true));
  translate(byId('main'));
  parts = makeParts();
  show();
  document.querySelector('#languages button').focus();
});
new Feed('/ws/stats', hear, (state) => collector.connect(state, localMs()));
setInterval(() => {
  collector.look(localMs());
  if (!frozen) show();
}, SHOW_EVERY_MS);
show();
