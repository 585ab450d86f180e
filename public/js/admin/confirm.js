// What cannot be undone: asked for by typing which sale is meant.

import { h } from '../base/dom.js';
import { t } from '../base/i18n.js';
import { Field, FormDialog, textInput } from './form.js';
import { outcomeTone, problemText } from './words.js';

const WORDS = {
  close: { title: 'close.title', means: 'close.means', submit: 'close.do' },
  reset: { title: 'reset.title', means: 'reset.means', submit: 'reset.do' },
};

/** Whether what was typed names the sale, by its number or its name. */
export function names(sale, typed) {
  const text = typed.trim();
  return text === String(sale.product_id) || text === sale.name;
}

/**
 * Asks, and closes or resets the sale: `what` is `close` or `reset`. `desk` is where requests and
 * news go.
 */
export function openConfirm(desk, sale, what) {
  const words = WORDS[what];
  const named = { name: sale.name, number: sale.product_id };
  const typed = new Field({ name: 'typed', label: t('confirm.type', named), input: textInput() });
  const dialog = new FormDialog({
    title: t(words.title, named),
    content: [h('p', { text: t(words.means) }), typed.element],
    fields: [typed],
    submit: t(words.submit),
    grave: true,
    act: async () => {
      if (!names(sale, typed.value)) {
        dialog.wrong({ typed: t('confirm.other', named) });
        return;
      }
      const outcome = await desk.change(sale, what);
      if (outcome.kind === 'done') dialog.close();
      else dialog.say(outcomeTone(outcome), changeText(what, outcome));
    },
  });
  dialog.open();
}

/** What became of a change; a reset may have been done and must not be done again unseen. */
export function changeText(what, outcome) {
  if (what === 'reset' && outcome.kind === 'unknown') return t('reset.unknown');
  return problemText(outcome.problem);
}
