// Which columns of the table there are: the user's choice, which the browser keeps. On narrow
// screens there are fewer, in any case.

import {$, make} from './dom.mjs';
import {COLUMNS} from './order.mjs';
import {local} from './state.mjs';

const KEY = 'thing-columns'; // Where the browser keeps those that are left out.

const CHOICE = COLUMNS.slice(1); // The id is always there.
const without = new Set();

function leaveOut(key, out) {
  if (out) without.add(key);
  else without.delete(key);
  $('things').classList.toggle(`no-${key}`, out);
}

function box([key, words]) {
  const input = make('input', {type: 'checkbox', checked: !without.has(key)});
  input.addEventListener('change', () => {
    leaveOut(key, !input.checked);
    local.write(KEY, [...without].join(' '));
  });
  return make('label', {}, input, ` ${words}`);
}

export function makeColumns() {
  const kept = (local.read(KEY) ?? '').split(' ');
  for (const [key] of CHOICE) if (kept.includes(key)) leaveOut(key, true);
  $('columns-choice').append(...CHOICE.map(box));
  // Whoever does something else has chosen.
  document.addEventListener('pointerdown', (event) => {
    if (!$('columns').contains(event.target)) $('columns').open = false;
  });
}
