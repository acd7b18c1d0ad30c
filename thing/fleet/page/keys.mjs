// The keyboard: what each key does, and where the focus goes in the table.

import {closeDetails} from './details.mjs';
import {$, isComposed} from './dom.mjs';
import {clearSearch} from './filters.mjs';
import {api, selection} from './state.mjs';
import {pick, reachByTab} from './table.mjs';

function moveInTable(step) {
  const opens = [...$('things').tBodies[0].querySelectorAll('.open')];
  const row = document.activeElement.closest('tr');
  const at = opens.findIndex((one) => one.closest('tr') === row);
  const next = at < 0 ? opens.find((one) => one.tabIndex === 0) ?? opens[0]
    : opens[Math.max(0, Math.min(opens.length - 1, at + step))];
  next?.focus();
}

// One step back: from the search to the whole table, from the message to its thing, which keeps what
// was typed, and from there to the table.
function stepBack(event) {
  if (event.target === $('search')) {
    event.preventDefault(); // The browser would empty the box, and tell nobody.
    clearSearch();
    focusOnTable();
  } else if (event.target === $('message')) $('details-title').focus();
  else if (selection.chosen) closeDetails();
}

function closeColumns() {
  $('columns').open = false;
  $('columns').querySelector('summary').focus();
}

const focusOnTable = () => ($('things').querySelector('.open') ?? $('scroll')).focus();

function keyPressed(event) {
  if (isComposed(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector('dialog[open]')) return;
  if (event.key === 'Escape') {
    if ($('columns').open) closeColumns();
    else stepBack(event);
    return;
  }
  if (event.target.closest('input:not([type=checkbox]), textarea, select')) return;
  const inTable = event.target.closest('#things tbody');
  const free = inTable || event.target === document.body || event.target === $('scroll');
  const keys = {'/': () => $('search').focus()};
  if (free) Object.assign(keys, {j: () => moveInTable(1), k: () => moveInTable(-1)});
  if (inTable) {
    Object.assign(keys, {ArrowDown: keys.j, ArrowUp: keys.k, Home: () => moveInTable(-Infinity),
      End: () => moveInTable(Infinity)});
    if (api.role === 'admin') keys.x = () => pick(event.target);
  }
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
}

// That which had the focus last is reached with Tab.
function focusMoved(event) {
  if (event.target.matches('#things tbody .open')) reachByTab(event.target.closest('tr'));
}

export function listenToKeys() {
  document.addEventListener('keydown', keyPressed);
  document.addEventListener('focusin', focusMoved);
  $('tools').addEventListener('submit', focusOnTable); // Enter in the search.
  document.querySelector('.skip').addEventListener('click', (event) => {
    event.preventDefault(); // The address keeps the view.
    $('scroll').focus();
  });
}
