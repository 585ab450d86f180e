// Elements, made and found. No markup is ever written as text, so nothing can be injected.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element. `attributes` may hold `class`, `text`, `data` (an object), `on` (an object of
 * listeners), boolean attributes and any other; `children` are nodes or strings, null is skipped.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'text') element.textContent = value;
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (name === 'on') {
      for (const [event, listener] of Object.entries(value))
        element.addEventListener(event, listener);
    } else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text only when it differs: a screen reader and the layout are left alone otherwise. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
