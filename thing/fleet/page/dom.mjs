// Elements: how they are found, made and changed, and the few looks that several parts share.
// Whatever comes from the server is text, and nothing else.

import {cause, isBad} from './causes.mjs';
import {shortened, visible} from './text.mjs';

const LONGEST_NAME = 300; // What is shown of a name, characters.

export const $ = (id) => document.getElementById(id);
export const on = (id, kind, work) => $(id).addEventListener(kind, work);

export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  return draw('svg', {class: 'icon', 'aria-hidden': 'true'}, draw('use', {href: `#i-${name}`}));
}

// What does not change is not touched: the browser would lay it out anew.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function label(element, text) {
  const name = visible(shortened(text, LONGEST_NAME));
  setText(element, name);
  setAttribute(element, 'title', name);
}

export function paintStatus(element, status, why) {
  const gone = status === 'gone';
  const words = gone && why ? cause(why).word : status;
  const symbol = gone && isBad(why) ? 'bad' : status;
  if (element.dataset.shown === words + symbol) return;
  element.dataset.shown = words + symbol;
  element.replaceChildren(icon(symbol), words);
}

// Whether a key is an input method's, which makes a character of several keys; some browsers say so
// by the code only.
export const isComposed = (event) => event.isComposing || event.keyCode === 229;

// Have these be the children, in this order. What has the focus is moved as little as all else, and
// keeps it.
export function arrange(parent, elements) {
  const focused = document.activeElement;
  elements.forEach((element, at) => {
    if (parent.children[at] !== element) parent.insertBefore(element, parent.children[at] ?? null);
  });
  if (focused !== document.activeElement && focused.isConnected) {
    focused.focus({preventScroll: true});
  }
}

// How what the user asked for went, in one of the outputs.
export function say(output, tone, words) {
  $(output).dataset.tone = tone;
  setText($(output), words);
}

// Have the user's clipboard hold the text of an element; say how that went. Browsers give no
// clipboard to pages that came without TLS from elsewhere.
export async function copy(id, text, output) {
  try {
    await navigator.clipboard.writeText(text);
    setText($(output), 'Copied.');
  } catch {
    getSelection().selectAllChildren($(id));
    setText($(output), 'It is selected: copy it by hand.');
  }
}

// For those who do not see the page.
export const announce = (words) => { setText($('spoken'), words); };
