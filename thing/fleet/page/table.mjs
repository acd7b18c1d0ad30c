// The table: its head, its rows and its pages, and the question that brings them. Which things are
// listed is decided in listing.mjs; this only shows them.

import {paintSpark} from './chart.mjs';
import {$, arrange, label, make, on, paintStatus, setAttribute, setText} from './dom.mjs';
import {isBad} from './causes.mjs';
import {repaint} from './frame.mjs';
import {COLUMNS, comparison} from './order.mjs';
import {api, keepAddress, link, listing, picks, pollers, selection, serverNow, setServerTime, view}
  from './state.mjs';
import {hereAt, paintComplete} from './status.mjs';
import {count, dateAndTime, duration, octets, roundTrip, visible} from './text.mjs';

const things = pollers.add(async (signal) => {
  const asked = performance.now();
  const {answer, date} = await api.things(view.question(), {signal});
  if (signal.aborted) return;
  setServerTime(answer, date);
  listing.takePage(answer, asked, performance.now());
  setAttribute($('things'), 'aria-busy', 'false');
  repaint();
  paintComplete(answer);
});

// Look at something else: from the first page on, unless the changes name another.
export function look(changes) {
  Object.assign(view, {trail: ['']}, changes);
  listing.begin();
  setAttribute($('things'), 'aria-busy', 'true');
  keepAddress();
  things.restart();
  repaint();
}

function turn(forward) {
  const {trail} = view, {loaded, following} = listing;
  if (!loaded || (forward ? following === null : trail.length === 1)) return;
  look({trail: forward ? [...trail, following] : trail.slice(0, -1)});
  $('scroll').scrollTop = 0;
}

// The row of one entry of the listing.
class Row {
  constructor(entry) {
    this.entry = entry;
    this.element = $('row').content.firstElementChild.cloneNode(true);
    this.element.classList.toggle('new', entry.isNew);
    this.cells = Object.fromEntries([...this.element.children].map((cell) =>
      [cell.classList[0].slice(2), cell]));
    this.open = this.element.querySelector('.open');
    this.pick = this.element.querySelector('.pick');
  }

  paint() {
    const {entry: {record, cause}, cells, element} = this;
    const traffic = record.traffic ?? {};
    const gone = record.status === 'gone';
    setAttribute(element, 'data-status', record.status);
    element.toggleAttribute('data-bad', gone && isBad(cause));
    element.classList.toggle('chosen', selection.chosen?.id === record.id);
    label(this.open, record.id);
    this.pick.checked = picks.has(record.id);
    setAttribute(this.pick, 'aria-label', `Choose ${visible(record.id)}`);
    paintStatus(cells.status.firstElementChild, record.status, cause);
    label(cells.node, record.node);
    const since = gone ? '–' : duration(serverNow() - record.since);
    setText(cells.since, since);
    setAttribute(cells.since, 'title', dateAndTime(record.since));
    const beat = duration(serverNow() - record.lastSeen);
    const ttl = traffic.ttl ?? record.ttl;
    setText(cells.beat, gone || !ttl ? beat : `${beat} of ${Math.round(ttl)}`);
    setAttribute(cells.beat, 'title', dateAndTime(record.lastSeen));
    const trip = gone ? '' : roundTrip(traffic.roundTripTime ?? NaN);
    setText(cells.trip.querySelector('.number'), trip);
    paintSpark(cells.trip.querySelector('svg'), record, 84, 22);
    const {messagesIn, messagesOut, octetsIn, octetsOut} = traffic;
    const ifKnown = (words) => record.traffic === null ? '–' : words;
    setText(cells.messages, ifKnown(`${count(messagesIn)} / ${count(messagesOut)}`));
    setText(cells.octets, ifKnown(`${octets(octetsIn)} / ${octets(octetsOut)}`));
    label(cells.address, record.address);
    const [status, rest] = cells.id.lastElementChild.children;
    paintStatus(status, record.status, cause);
    setText(rest, `${visible(record.node)} · ${gone ? `${beat} ago` : since}`);
  }
}

const rows = new Map(); // By entry.

export function paintTable() {
  for (const row of rows.values()) {
    if (listing.get(row.entry.record.id) !== row.entry) remove(row);
  }
  const compare = comparison(view.sort, view.down);
  const shown = [...listing.entries.values()].sort((one, other) =>
    compare(one.record, other.record));
  for (const entry of shown) {
    if (!rows.has(entry)) rows.set(entry, new Row(entry));
    rows.get(entry).paint();
  }
  arrangeRows(shown.map((entry) => rows.get(entry).element));
  paintPicks();
  paintPager(shown);
}

function remove(row) {
  rows.delete(row.entry);
  if (row.element.contains(document.activeElement)) {
    const near = row.element.nextElementSibling ?? row.element.previousElementSibling;
    (near?.querySelector('.open') ?? $('scroll')).focus({preventScroll: true});
  }
  row.element.remove();
}

function arrangeRows(elements) {
  const body = $('things').tBodies[0];
  arrange(body, elements);
  const current = body.querySelector('.open[tabindex="0"]') ?? body.querySelector('.open');
  if (current) reachByTab(current.closest('tr'));
}

// One row is reached with Tab.
export function reachByTab(row) {
  for (const each of row.parentElement.rows) {
    for (const one of each.querySelectorAll('.open, .pick')) one.tabIndex = each === row ? 0 : -1;
  }
}

const rowOf = (element) => [...rows.values()].find((row) => row.element.contains(element));

// Choose the thing of the row that an element is in, or do not any more.
export function pick(element) {
  const {id} = rowOf(element).entry.record;
  if (!picks.delete(id)) picks.add(id);
  repaint();
}

function pickAll(all) {
  for (const {entry: {record: {id}}} of rows.values()) {
    if (all) picks.add(id);
    else picks.delete(id);
  }
  repaint();
}

function paintPicks() {
  const chosen = [...rows.values()].filter((row) => row.pick.checked).length;
  $('pick-all').checked = chosen > 0 && chosen === rows.size;
  $('pick-all').indeterminate = chosen > 0 && chosen < rows.size;
}

// Give the focus to the row of a thing; return whether there is one.
export function focusRow(id) {
  const open = rows.get(listing.get(id))?.open;
  open?.focus();
  return open !== undefined;
}

export function makeHead() {
  const all = make('input',
    {type: 'checkbox', id: 'pick-all', ariaLabel: 'Choose all of this page'});
  all.addEventListener('change', () => pickAll(all.checked));
  $('things').tHead.rows[0].append(make('td', {className: 'c-pick acts'}, all));
  for (const [key, words, title] of COLUMNS) {
    const button = make('button', {type: 'button', textContent: words, title});
    button.addEventListener('click', () => sortBy(key));
    $('things').tHead.rows[0].append(make('th', {scope: 'col', className: `c-${key}`}, button));
  }
  sortBy('id', false);
}

function sortBy(key, down = view.sort === key && !view.down) {
  Object.assign(view, {sort: key, down});
  [...$('things').tHead.querySelectorAll('th')].forEach((cell, at) => {
    if (COLUMNS[at][0] === key) cell.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    else cell.removeAttribute('aria-sort');
  });
  repaint();
}

function paintPager(shown) {
  const {loaded, following} = listing;
  const page = view.trail.length;
  const alone = page === 1 && following === null;
  const staying = shown.filter((entry) => !entry.leaves).length;
  setText($('range'), loaded ? view.rangeOf(staying, following === null, hereAt(view.node)) : '');
  setText($('sorted'), view.sort === 'id' || alone ? '' : '(sorted within this page)');
  for (const [id, other, disabled] of [['previous', 'next', page === 1],
    ['next', 'previous', following === null]]) {
    if (disabled && document.activeElement === $(id)) $(other).focus(); // It would be lost.
    $(id).disabled = disabled;
  }
  paintEmpty(shown.length);
}

function paintEmpty(shown) {
  const {loaded} = listing;
  $('empty').hidden = shown > 0;
  $('things').hidden = shown === 0;
  $('clear').hidden = !loaded || !view.filtered;
  const [title, text] = !loaded
    ? [link.trouble ? 'No answer yet' : view.filtered ? 'Searching' : 'Asking the server', '']
    : view.filtered ? ['No thing matches', 'None of those here now has this text, status and node.']
      : ['No thing is here yet', 'As soon as one connects, it appears here.'];
  setText($('empty-title'), title);
  setText($('empty-text'), text);
}

// opened is told the id of the thing whose row is clicked.
export function listenToTable(opened) {
  on('limit', 'change', () => look({limit: Number($('limit').value)}));
  on('previous', 'click', () => turn(false));
  on('next', 'click', () => turn(true));
  on('things', 'click', (event) => {
    if (event.target.closest('.c-pick')) {
      if (event.target.matches('.pick')) pick(event.target);
      return;
    }
    const row = rowOf(event.target);
    if (row && !String(getSelection())) opened(row.entry.record.id);
  });
}
