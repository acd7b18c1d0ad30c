// The list of what happens, the latest first, and what of it is said aloud. How an event is told
// is in happenings.mjs.

import {openDetails} from './details.mjs';
import {$, announce, icon, label, make, on, setAttribute, setText} from './dom.mjs';
import {repaint} from './frame.mjs';
import {described} from './happenings.mjs';
import {happenings} from './state.mjs';
import {count, counted, timeOfDay} from './text.mjs';

const SHOWN_EVENTS = 100;

// anew: all of them, for another choice of kinds.
export function paintFeed(anew = false) {
  if (happenings.held && !anew) {
    const {fresh} = happenings;
    setText($('hold'), fresh ? `Go on (${count(fresh)} new)` : 'Go on');
    return;
  }
  const list = $('feed');
  if (anew) list.replaceChildren();
  const kinds = $('kinds').value.split(' ').filter(Boolean);
  list.querySelector(':scope > .none')?.remove();
  list.prepend(...happenings.take(kinds, anew, SHOWN_EVENTS).map(feedItem));
  while (list.children.length > SHOWN_EVENTS) list.lastElementChild.remove();
  if (!list.firstChild) {
    list.append(make('li', {className: 'muted none', textContent: 'Nothing in the last minutes.'}));
  }
}

function feedItem(event) {
  const {tone, symbol, verb, words} = described(event);
  const item = make('li', {}, make('time', {className: 'muted', textContent: timeOfDay(event.at)}),
    make('span', {className: 'kind'}, icon(symbol), verb));
  item.dataset.tone = tone;
  if (event.id !== undefined) {
    const open = make('button', {type: 'button', className: 'open name', tabIndex: 0});
    label(open, event.id);
    open.addEventListener('click', () => openDetails(event.id));
    item.append(open);
  }
  item.append(make('p', {textContent: words}));
  return item;
}

export function announceEnds() {
  const ends = happenings.takeEnds(Date.now());
  if (ends) announce(`${counted(ends, 'thing')} ended without goodbye`);
}

export function listenToFeed() {
  on('kinds', 'change', () => paintFeed(true));
  on('hold', 'click', () => {
    happenings.held = !happenings.held;
    setAttribute($('hold'), 'aria-pressed', String(happenings.held));
    setText($('hold'), happenings.held ? 'Go on' : 'Hold');
    repaint();
  });
}
