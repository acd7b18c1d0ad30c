// The top of the page and its title: whether the server is there, what is wrong if it is not, and
// how much is here.

import {$, announce, make, on, setAttribute, setText} from './dom.mjs';
import {api, link, listing, tryNow} from './state.mjs';
import {count, visible} from './text.mjs';

let shown = ''; // The state that was announced last.
let here = null; // How many things are; null while that is not known.
let byNode = new Map(); // The same, by node.

export function paintState() {
  const [state, name, symbol] = link.state();
  setAttribute($('state'), 'data-state', state);
  setText($('state-text'), name);
  setAttribute($('state').querySelector('use'), 'href', `#i-${symbol}`);
  const words = link.words(Date.now());
  $('offline').hidden = !words;
  $('offline').classList.toggle('bad', link.trouble !== null);
  setText($('offline-text'), words);
  if (state !== shown && ['live', 'offline'].includes(state)) {
    if (shown) announce(state === 'live' ? 'Live again' : 'Offline: the server does not answer');
    shown = state;
  }
  paintTitle();
}

// How many things a node has, or all of them have if none is named; null if that is not known.
export const hereAt = (node) => (node ? byNode.get(node) : here) ?? null;

export function paintTotals(nodes) {
  const there = nodes.filter(({status}) => !['stopped', 'lost'].includes(status));
  byNode = new Map(there.map(({node, sessions}) => [node, sessions]));
  here = there.reduce((sum, node) => sum + node.sessions, 0);
  const wanted = nodes.filter((node) => node.status !== 'stopped');
  const up = wanted.filter((node) => node.status === 'up').length;
  const parts = [[count(here), here === 1 ? ' thing here' : ' things here'],
    [count(nodes.reduce((sum, node) => sum + node.handshakes, 0)), ' connecting'],
    [`${up} of ${wanted.length}`, wanted.length === 1 ? ' node up' : ' nodes up']];
  $('totals').replaceChildren(...parts.map(([number, words]) =>
    make('span', {}, make('b', {className: 'number', textContent: number}), words)));
  paintTitle();
}

function paintTitle() {
  const place = listing.node ? `Fleet of ${visible(listing.node)}` : 'Fleet';
  setText($('place'), place);
  const state = link.state()[0] === 'offline' ? 'Offline · '
    : here === null ? '' : `${count(here)} here · `;
  if (document.title !== state + place) document.title = state + place;
}

// Who may only look is shown nothing that would be refused.
export function paintRole() {
  document.body.dataset.role = api.role;
  $('viewing').hidden = api.role !== 'viewer';
}

// Whether all nodes' things are listed, or this one's only.
export function paintComplete({complete, node}) {
  setText($('incomplete-text'), `Node ${visible(node)} does not reach all of the shared ` +
    'registry: things of other nodes may be missing, or be shown as they were.');
  $('incomplete').hidden = complete;
}

export function listenToStatus() {
  link.changed = paintState;
  on('again', 'click', tryNow);
}
