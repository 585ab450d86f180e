// Words in the visitor's language, from `i18n/<language>/<page>.json`.
//
// A text is a string, or an object by plural category (`Intl.PluralRules`, chosen by `n`), with
// parameters in braces. `th.json` and `en.json` have the same keys; a test holds that.

export const LANGUAGES = { en: 'English', th: 'ไทย' };
const STORED = 'flashsale.language';

let language = 'en';
let texts = {};
let plural = new Intl.PluralRules('en');

/** The language of `?lang=`, else the one chosen before, else the browser's if it is known. */
export function chooseLanguage(query, stored, preferred) {
  const wanted = [new URLSearchParams(query).get('lang'), stored, ...preferred];
  const known = wanted
    .map((tag) => tag?.toLowerCase().split('-')[0])
    .find((tag) => tag in LANGUAGES);
  return known ?? 'en';
}

/** Loads the texts of `pages` and puts them into everything that has `data-i18n`. */
export async function loadTexts(...pages) {
  const stored = localStorage.getItem(STORED);
  const chosen = chooseLanguage(location.search, stored, navigator.languages);
  const read = async (page) => {
    const response = await fetch(new URL(`../../i18n/${chosen}/${page}.json`, import.meta.url));
    if (!response.ok) throw new Error(`the texts of ${page} are not there: ${response.status}`);
    return response.json();
  };
  // Texts that do not come leave those that are shown.
  texts = Object.assign({}, ...(await Promise.all(['common', ...pages].map(read))));
  language = chosen;
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language;
  translate(document);
}

/** Puts texts into `root`: `data-i18n` names the content, `data-i18n-label` the `aria-label`. */
export function translate(root) {
  for (const element of root.querySelectorAll('[data-i18n]'))
    element.textContent = t(element.dataset.i18n);
  for (const element of root.querySelectorAll('[data-i18n-label]')) {
    element.setAttribute('aria-label', t(element.dataset.i18nLabel));
  }
}

/** The language that is shown. */
export const currentLanguage = () => language;

let reshow = null;

/** A page with more to lose than its place shows another language itself, by `show`. */
export function onLanguage(show) {
  reshow = show;
}

/** Shows another language: the page is loaded again, and an order under way is resumed. */
export function switchLanguage(next) {
  localStorage.setItem(STORED, next);
  const url = new URL(location.href);
  url.searchParams.delete('lang');
  if (reshow) {
    history.replaceState(null, '', url);
    reshow();
  } else if (url.href === location.href) location.reload();
  else location.replace(url);
}

/** Whether there is a text of this key. */
export const hasText = (key) => key in texts;

/** The text of a key; a key without one is shown as it is, so that it is noticed. */
export function t(key, parameters = {}) {
  let text = texts[key] ?? key;
  if (typeof text === 'object') text = text[plural.select(parameters.n ?? 0)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => parameters[name] ?? whole);
}

/** What an error means, by its `code`; of an unknown one, what the server calls it. */
export function errorText(problem) {
  const key = `code.${problem?.code}`;
  if (hasText(key)) return t(key, { field: problem.field ?? '' });
  return problem?.title ?? t('code.UNKNOWN');
}
