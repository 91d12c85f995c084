export const find = (selector, within = document) => within.querySelector(selector);
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
export const copyOf = (template) => find(template).content.cloneNode(true).firstElementChild;

export function create(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function setState(view, state) {
  for (const part of findAll("[data-if]", view)) part.hidden = part.dataset.if !== state;
}
