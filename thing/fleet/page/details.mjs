// The details of one thing: its facts, its heartbeats, who reaches it and its earlier sessions, and
// the question that brings them. What the user does to it is in composer.mjs.

import {cause, isBad} from './causes.mjs';
import {paintSpark} from './chart.mjs';
import {clearComposer, paintComposer} from './composer.mjs';
import {$, copy, make, on, paintStatus, setText} from './dom.mjs';
import {repaint} from './frame.mjs';
import {notOlder} from './order.mjs';
import {paintReaches} from './reachlist.mjs';
import {api, beats, keepAddress, listing, pollers, selection, serverNow} from './state.mjs';
import {focusRow} from './table.mjs';
import {count, dateAndTime, duration, octets, roundTrip, visible} from './text.mjs';

const details = pollers.add(async (signal) => {
  const mine = selection.chosen;
  if (!mine) return false;
  const answer = await api.thing(mine.id, {signal});
  mine.unknown = answer === null;
  if (answer) {
    if (!mine.record || notOlder(answer, mine.record)) mine.record = answer;
    beats.note(answer);
  }
  repaint();
  return true;
});

export function openDetails(id) {
  if (selection.chosen?.id !== id) {
    selection.chosen = {id, record: listing.get(id)?.record ?? null, unknown: false, painted: ''};
    clearComposer();
  }
  $('details').hidden = false;
  $('details').scrollTop = 0;
  document.querySelector('main').inert = matchMedia('(max-width: 640px)').matches; // It is covered.
  setText($('details-title'), visible(id));
  $('details-title').focus();
  details.restart();
  keepAddress();
  repaint();
}

export function closeDetails() {
  if (!selection.chosen) return;
  const {id} = selection.chosen;
  selection.chosen = null;
  $('details').hidden = true;
  document.querySelector('main').inert = false;
  if (!focusRow(id)) $('search').focus();
  keepAddress();
  repaint();
}

// Ask anew, if this is the thing that is shown.
export function askAgain(id) {
  if (selection.chosen?.id === id) details.restart();
}

export function paintDetails() {
  if (!selection.chosen) return;
  const {id, record, unknown} = selection.chosen;
  const gone = unknown || record?.status === 'gone';
  paintComposer(gone);
  setText($('details-note'), unknown ? 'The server knows nothing of this thing.'
    : record ? '' : 'Asking the server');
  if (!record) {
    $('details').dataset.status = 'unknown';
    $('facts').replaceChildren();
    return;
  }
  const status = gone ? 'gone' : record.status;
  const why = gone ? listing.get(id)?.cause ?? record.endings[0]?.cause : undefined;
  $('details').dataset.status = status;
  $('details').toggleAttribute('data-bad', isBad(why));
  paintStatus($('details-status'), status, why);
  paintSpark($('details-spark'), record, 400, 56);
  paintFacts(factsOf(record));
  paintReaches(gone ? [] : record.reaches ?? [], gone || record.complete !== false);
  paintEndings(record.endings);
}

function factsOf(record) {
  const traffic = record.traffic ?? {};
  const ifKnown = (words) => record.traffic ? words : '–';
  return {
    Name: record.name === null ? 'none' : visible(record.name),
    Key: record.fingerprint ? visible(record.fingerprint) : 'none',
    Node: visible(record.node),
    Address: visible(record.address),
    Since: `${dateAndTime(record.since)} (${duration(serverNow() - record.since)})`,
    'Last seen': `${dateAndTime(record.lastSeen)} (${duration(serverNow() - record.lastSeen)} ago)`,
    'Time to live': duration(traffic.ttl ?? record.ttl ?? NaN),
    Heartbeats: ifKnown(count(traffic.heartbeats)),
    'Round trip': roundTrip(traffic.roundTripTime ?? NaN),
    Messages: ifKnown(`${count(traffic.messagesIn)} in, ${count(traffic.messagesOut)} out`),
    Octets: ifKnown(`${octets(traffic.octetsIn)} in, ${octets(traffic.octetsOut)} out`),
    Streams: ifKnown(`${count(traffic.streams)}, waited for credit ${count(traffic.creditStalls)}×`),
    Cipher: record.aead ? cipherOf(record) : '–',
    Session: visible(record.session),
    Epoch: `${record.epoch}, event ${record.sequence}`,
  };
}

const cipherOf = ({group, aead, resumed}) =>
  `${visible(group)}, ${visible(aead)}${resumed ? ', resumed' : ''}`;

function paintFacts(facts) {
  const list = $('facts');
  if (!list.firstChild) {
    list.append(...Object.keys(facts).flatMap((name) =>
      [make('dt', {textContent: name}), make('dd')]));
  }
  Object.values(facts).forEach((text, at) => setText(list.children[2 * at + 1], text));
}

function paintEndings(endings) {
  const {chosen} = selection;
  if (JSON.stringify(endings) === chosen.painted) return;
  chosen.painted = JSON.stringify(endings);
  $('endings').replaceChildren(...endings.map(endingItem));
  if (endings.length) return;
  $('endings').append(make('li', {className: 'muted', textContent: 'None is remembered.'}));
}

const endingItem = ({cause: why, since, until, node, detail}) => make('li', {},
  make('strong', {textContent: cause(why).word}),
  ` ${dateAndTime(until)}, after ${duration(until - since)} at ${visible(node)}`,
  make('p', {className: 'muted', textContent: visible(detail)}));

export function listenToDetails() {
  on('copy', 'click', () => copy('details-title', selection.chosen.id, 'copied'));
  on('close', 'click', closeDetails);
}
