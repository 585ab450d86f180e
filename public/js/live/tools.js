// The wall's own buttons in the bar: pause, save, full screen; and the clock.

import { saveCsv } from '../base/csv.js';
import { byId, h, setText } from '../base/dom.js';
import { timeOfDay } from '../base/format.js';
import { t } from '../base/i18n.js';

function button(id, text, press) {
  return h('button', {
    class: 'button quiet small',
    type: 'button',
    id,
    text,
    on: { click: press },
  });
}

/** Puts the buttons into the bar. `pause()` turns pausing on or off; `csv()` is the file's text. */
export function mountTools({ pause, csv }) {
  const tools = byId('bar').querySelector('.tools');
  tools.prepend(h('time', { class: 'clock figure', id: 'clock' }));
  tools.append(
    button('pause', t('tool.pause'), pause),
    button('csv', t('tool.csv'), () => save(csv())),
  );
  // A phone has no full screen for pages.
  if (document.fullscreenEnabled) tools.append(fullScreen());
}

/** Shows the server's time, and whether the view is paused. */
export function showTools(nowMs, paused) {
  setText(byId('clock'), timeOfDay(nowMs));
  setText(byId('pause'), t(paused ? 'tool.resume' : 'tool.pause'));
}

function save(text) {
  const at = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  saveCsv(`flash-sale-${at}Z.csv`, text);
}

const fullText = () => t(document.fullscreenElement ? 'tool.full_end' : 'tool.full');

function fullScreen() {
  return button('full', fullText(), () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen().catch(() => {});
  });
}

document.addEventListener('fullscreenchange', () => {
  setText(byId('full'), fullText());
  keepAwake();
});
document.addEventListener('visibilitychange', keepAwake);

let awake = null;

/** A wall must not go dark while it is looked at; where that cannot be asked for, it may. */
async function keepAwake() {
  await awake?.release().catch(() => {});
  awake = null;
  if (!document.fullscreenElement || document.hidden) return;
  // Only secure pages may ask, and a low battery refuses.
  awake = (await navigator.wakeLock?.request('screen').catch(() => null)) ?? null;
}
