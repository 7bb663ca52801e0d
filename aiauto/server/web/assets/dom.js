// Builds the page out of nodes: text is always text, so nothing that a user sent can become markup.

/**
 * Makes an element.
 * @param {string} tag Its name.
 * @param {object} [given] Attributes; `on` holds listeners by event. What is null or false is left out.
 * @param {...(Node|string|number|null|undefined|Array)} children What is in it.
 */
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  put(element, ...children);
  return element;
}

/** Puts these into an element, in place of what was there. */
export function put(element, ...children) {
  element.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
      .map((child) => (child instanceof Node ? child : String(child))),
  );
  return element;
}

/** Sets a text only where it has changed: screen readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== String(text)) element.textContent = String(text);
  return element;
}

let made = 0;

/** An id that no other element has. */
export function newId(name) {
  made += 1;
  return `${name}-${made}`;
}
