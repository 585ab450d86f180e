// Signing in: a token is tried with a real request before anything is shown.

import { h } from '../base/dom.js';
import { t } from '../base/i18n.js';
import { tryToken } from './api.js';
import { button, Field, textInput, whileBusy } from './form.js';
import { IDLE_MAX_MINUTES } from './session.js';
import { problemText } from './words.js';

/** Headers are Latin-1 in a browser; a token of an edge that is none of it cannot be sent. */
const isSendable = (token) => /^[\x21-\x7e]+$/.test(token);

/** What is wrong after a try: `token`, `absent`, `away`; null when the token is let in. Pure. */
export function judgeTry({ kind, status, problem }) {
  if (kind === 'done') return null;
  if (status === 401) return 'token';
  if (status === 404 && problem.code === 'NOT_FOUND') return 'absent';
  return kind === 'refused' ? 'other' : 'away';
}

export class SignIn {
  #onToken;
  #field;
  #notice;

  /** `onToken(token)` when one was let in. */
  constructor(onToken) {
    this.#onToken = onToken;
  }

  /** Makes the view; `reason` is why the session before ended, null at first. */
  build(reason) {
    const input = textInput({ type: 'password', autocapitalize: 'none', required: true });
    this.#field = new Field({
      name: 'token',
      label: t('signin.token'),
      input,
      hint: t('signin.hint'),
    });
    const show = button(t('signin.show'), null, {
      kind: 'quiet small',
      'aria-pressed': 'false',
      click: () => {
        input.type = input.type === 'password' ? 'text' : 'password';
        show.setAttribute('aria-pressed', String(input.type === 'text'));
      },
    });
    this.#notice = h('p', { class: 'notice', role: 'alert', hidden: true });
    const submit = h('button', {
      class: 'button',
      type: 'submit',
      id: 'sign-in',
      text: t('signin.do'),
    });
    const form = h(
      'form',
      { class: 'signin-form', novalidate: true, autocomplete: 'off' },
      this.#field.element,
      this.#notice,
      h('div', { class: 'signin-actions' }, submit, show),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      whileBusy(form, () => this.#try());
    });
    const tone = reason === 'left' ? 'good' : 'warn';
    if (reason) this.#say(tone, t(`signed-out.${reason}`, { minutes: IDLE_MAX_MINUTES }));
    return h(
      'section',
      { class: 'card signin', 'aria-labelledby': 'signin-title' },
      h('h1', { id: 'signin-title', text: t('signin.title') }),
      h('p', { class: 'lead', text: t('signin.lead') }),
      form,
      isSecureContext
        ? null
        : h('p', { class: 'notice', data: { tone: 'warn' }, text: t('signin.insecure') }),
    );
  }

  focus() {
    this.#field.input.focus();
  }

  async #try() {
    this.#notice.hidden = true;
    const token = this.#field.value.trim();
    if (token === '') return this.#wrong(t('signin.empty'));
    const outcome = isSendable(token) ? await tryToken(token) : { kind: 'refused', status: 401 };
    switch (judgeTry(outcome)) {
      case null:
        this.#field.input.value = '';
        return this.#onToken(token);
      case 'token':
        return this.#wrong(t('signin.wrong'));
      case 'absent':
        return this.#say('bad', t('signin.absent'));
      case 'away':
        return this.#say('warn', t('signin.away'));
      default:
        return this.#say('bad', problemText(outcome.problem));
    }
  }

  #wrong(text) {
    this.#field.wrong(text);
    setTimeout(() => this.#field.input.select());
  }

  #say(tone, text) {
    this.#notice.dataset.tone = tone;
    this.#notice.hidden = false;
    this.#notice.textContent = text;
  }
}
