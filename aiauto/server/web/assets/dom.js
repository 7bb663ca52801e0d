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

/**
 * Brings what is in an element up to date. What is of the same kind as before stays the same node, so
 * that somebody keeps what they have opened, focused or selected in it; and the listeners it had.
 */
export function update(element, ...children) {
  renew(element, put(element.cloneNode(false), ...children));
  return element;
}

function renew(element, wanted) {
  let old = element.firstChild;
  for (const fresh of [...wanted.childNodes]) {
    let same = old;
    while (same && same.nodeName !== fresh.nodeName) same = same.nextSibling;
    if (!same) {
      element.insertBefore(fresh, old);
      continue;
    }
    while (old !== same) old = gone(old);
    old = same.nextSibling;
    if (same instanceof Element) {
      adopt(same, fresh);
      renew(same, fresh);
    } else if (same.data !== fresh.data) {
      same.data = fresh.data;
    }
  }
  while (old) old = gone(old);
}

/** Takes a node away, and gives the one after it. */
function gone(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function adopt(element, fresh) {
  for (const name of new Set([...element.getAttributeNames(), ...fresh.getAttributeNames()])) {
    const value = fresh.getAttribute(name);
    // Whether it is open is theirs to say who read it.
    if (element.getAttribute(name) === value || (name === "open" && element.nodeName === "DETAILS")) continue;
    // By the object model: a style in the markup would be refused.
    if (name === "style") element.style.cssText = value ?? "";
    else if (value === null) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
}

/** Sets a text only where it has changed: screen readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== String(text)) element.textContent = String(text);
  return element;
}

/** Hides what has nothing to show yet, and gives what shows it. */
export function hideUntilKnown(...elements) {
  const hide = (hidden) => elements.forEach((one) => { one.hidden = hidden; });
  hide(true);
  return () => hide(false);
}

let made = 0;

/** An id that no other element has. */
export function newId(name) {
  made += 1;
  return `${name}-${made}`;
}
