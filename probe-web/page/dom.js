// Elements.

/** Makes an element with attributes and children; text is text. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element && key !== 'list' && key !== 'part') element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A button that does something. */
export function button(text, action, kind = '') {
  const it = make('button', { type: 'button', className: kind, part: 'button', textContent: text });
  it.addEventListener('click', action);
  return it;
}

/** Shows buttons in a place, and nothing else in it. */
export function row(place, ...buttons) {
  place.replaceChildren(make('div', { className: 'row' }, ...buttons));
  place.hidden = false;
}
