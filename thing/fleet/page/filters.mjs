// The search and the filters above the table, and what the page's address says of them. What they
// let pass is in view.mjs.

import {$, make, on} from './dom.mjs';
import {compareIds} from './order.mjs';
import {view} from './state.mjs';
import {look} from './table.mjs';
import {visible} from './text.mjs';

const TYPING = 200; // After so long without a key what was typed is searched for, milliseconds.

// Begin with what the address says; return the id of the thing whose details it names, or null.
export function readAddress() {
  const thing = view.read(location.hash);
  $('search').value = view.q;
  $('status').value = view.status;
  offerNodes([]);
  return thing;
}

export function offerNodes(names) {
  const offered = [...new Set([...names, ...(view.node ? [view.node] : [])])].sort(compareIds);
  const select = $('node');
  const before = [...select.options].slice(1).map((one) => one.value);
  if (offered.join('\n') === before.join('\n')) return;
  select.replaceChildren(select.options[0], ...offered.map((name) =>
    make('option', {value: name, textContent: visible(name)})));
  select.value = view.node;
}

let typing = 0;

function search() {
  clearTimeout(typing);
  const q = $('search').value.trim();
  if (q !== view.q) look({q});
}

export function clearSearch() {
  $('search').value = '';
  search();
}

export function listenToFilters() {
  on('search', 'input', () => {
    clearTimeout(typing);
    typing = setTimeout(search, TYPING);
  });
  on('tools', 'submit', (event) => {
    event.preventDefault();
    search();
  });
  on('status', 'change', () => look({status: $('status').value}));
  on('node', 'change', () => look({node: $('node').value}));
  on('clear', 'click', () => {
    clearTimeout(typing);
    $('tools').reset();
    look({q: '', status: '', node: ''});
  });
}
