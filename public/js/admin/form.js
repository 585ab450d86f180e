// Parts of forms: labelled fields that say what is wrong with them, dialogs, one request at a time.

import { h, setText } from '../base/dom.js';
import { t } from '../base/i18n.js';

let made = 0;

/** A labelled input with a hint and a place for what is wrong with it. */
export class Field {
  /** `hint` may be null; `beside` follows the input. */
  constructor({ name, label, input, hint = null, beside = null }) {
    made += 1;
    const id = `field-${made}`;
    this.name = name;
    this.label = label;
    this.input = input;
    Object.assign(input, { id, name });
    this.hint = h('p', {
      class: 'hint',
      id: `${id}-hint`,
      text: hint ?? '',
      hidden: hint === null,
    });
    this.error = h('p', { class: 'wrong', id: `${id}-wrong`, hidden: true });
    input.setAttribute('aria-describedby', `${id}-hint ${id}-wrong`);
    this.element = h(
      'div',
      { class: 'field', data: { field: name } },
      h('label', { for: id, text: label }),
      input,
      beside,
      this.hint,
      this.error,
    );
    input.addEventListener('input', () => this.wrong(null));
  }

  get value() {
    return this.input.value;
  }

  /** Says what is wrong; null: nothing. */
  wrong(text) {
    this.error.hidden = text === null;
    setText(this.error, text ?? '');
    if (text === null) this.input.removeAttribute('aria-invalid');
    else this.input.setAttribute('aria-invalid', 'true');
  }

  say(text) {
    this.hint.hidden = text === '';
    setText(this.hint, text);
  }
}

/** A text input; nothing typed here is remembered or corrected by the browser. */
export function textInput(attributes = {}) {
  return h('input', {
    class: 'input',
    type: 'text',
    autocomplete: 'off',
    spellcheck: 'false',
    ...attributes,
  });
}

/** A choice: `options` are pairs of value and text. */
export function choice(options, chosen = '') {
  return h(
    'select',
    { class: 'input' },
    ...options.map(([value, text]) =>
      h('option', { value, text, selected: String(value) === String(chosen) }),
    ),
  );
}

/** A button that says to screen readers what it is about. */
export function button(text, about, { kind = 'quiet small', click, ...attributes }) {
  return h(
    'button',
    { class: `button ${kind}`, type: 'button', on: { click }, ...attributes },
    text,
    about === null ? null : h('span', { class: 'said-only', text: ` ${about}` }),
  );
}

/**
 * Does `work` while nothing in `root` can be pressed or typed, unless something is being done there
 * already: nothing is sent twice. Focus stays where it was.
 */
export async function whileBusy(root, work) {
  if (root.getAttribute('aria-busy') === 'true') return;
  const focused = document.activeElement;
  const controls = [...root.querySelectorAll('button, input, select')].filter(
    (control) => !control.disabled,
  );
  root.setAttribute('aria-busy', 'true');
  for (const control of controls) control.disabled = true;
  try {
    await work();
  } finally {
    root.removeAttribute('aria-busy');
    for (const control of controls) control.disabled = false;
    if (focused?.isConnected && document.activeElement === document.body) focused.focus();
  }
}

/** A form in a modal dialog. It goes when it is closed; focus returns to where it was. */
export class FormDialog {
  #dialog;
  #form;
  #notice = h('div', { class: 'notice', role: 'alert', hidden: true });
  #fields = new Map();

  /**
   * `content` are nodes, `fields` those of them that can be wrong, `act()` is what the button named
   * `submit` does; `grave` where it cannot be undone.
   */
  constructor({ title, content, fields, submit, grave = false, act }) {
    for (const field of fields) this.#fields.set(field.name, field);
    this.submit = h('button', {
      class: grave ? 'button grave' : 'button',
      type: 'submit',
      text: submit,
    });
    const cancel = button(t('form.cancel'), null, { kind: 'quiet', click: () => this.close() });
    this.#form = h(
      'form',
      { novalidate: true },
      h('h2', { id: 'dialog-title', text: title }),
      ...content,
      this.#notice,
      h('div', { class: 'dialog-actions' }, cancel, this.submit),
    );
    this.#dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'dialog-title' }, this.#form);
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#begin();
      whileBusy(this.#form, act);
    });
    // Whoever leaves while a request runs would not hear what became of it.
    this.#dialog.addEventListener('cancel', (event) => {
      if (this.#form.getAttribute('aria-busy') === 'true') event.preventDefault();
    });
    this.#dialog.addEventListener('close', () => this.#dialog.remove());
  }

  open() {
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    this.#form.querySelector('input:enabled, select:enabled')?.focus();
  }

  close() {
    this.#dialog.close();
  }

  #begin() {
    this.#notice.hidden = true;
    for (const field of this.#fields.values()) field.wrong(null);
  }

  /** Says something above the buttons. */
  say(tone, text) {
    this.#notice.dataset.tone = tone;
    this.#notice.hidden = false;
    this.#notice.replaceChildren(h('p', { text }));
    this.#notice.scrollIntoView({ block: 'nearest' });
  }

  /** Says what is wrong with fields, a text each by name, and goes to the first of them. */
  wrong(texts) {
    const names = [...this.#fields.keys()].filter((name) => texts[name]);
    for (const name of names) this.#fields.get(name).wrong(texts[name]);
    // Once the request is over and they can be typed in again.
    if (names.length > 0) setTimeout(() => this.#fields.get(names[0]).input.focus());
    return names.length > 0;
  }
}

/** Closes whatever dialog is open. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
}
