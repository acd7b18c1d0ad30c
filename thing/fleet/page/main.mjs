// Where the page begins: it joins the parts to each other, and says what an event, the passing of
// time and the hiding of the page change.

import {listenToBulk, paintBulk} from './bulk.mjs';
import {makePatterns} from './chart.mjs';
import {makeColumns} from './columns.mjs';
import {listenToComposer} from './composer.mjs';
import {askAgain, listenToDetails, openDetails, paintDetails} from './details.mjs';
import {announceEnds, listenToFeed, paintFeed} from './feed.mjs';
import {listenToFilters, readAddress} from './filters.mjs';
import {onFrame, repaint, schedule} from './frame.mjs';
import {listenToHistory, makeHistory} from './history.mjs';
import {askForInvitations, listenToInvitations} from './inviting.mjs';
import {listenToKeys} from './keys.mjs';
import {askForNodes} from './nodes.mjs';
import {api, beats, follower, forgetOrder, happenings, isNew, listing, pollers, serverNow, tryNow}
  from './state.mjs';
import {listenToStatus, paintRole, paintState} from './status.mjs';
import {listenToTable, makeHead, paintTable} from './table.mjs';
import {askForToken, listenToToken} from './token.mjs';

const HIDDEN = 30000; // A tab that is hidden for so long gives its stream up, milliseconds.

function takeMessage(kind, data) {
  if (kind === 'reset') {
    if (happenings.events.length) keep({kind: 'reset', at: serverNow()});
    forgetOrder();
    pollers.restart();
    return;
  }
  happened(JSON.parse(data));
}

function happened(event) {
  keep(event);
  beats.hear(event);
  if (event.kind !== 'message') askAgain(event.id);
  listing.hear(event, performance.now(), isNew(event));
  schedule();
}

function keep(event) {
  happenings.keep(event, isNew(event));
  schedule();
}

let hiding = 0;

function seenOrNot() {
  clearTimeout(hiding);
  if (document.hidden) {
    pollers.stop();
    hiding = setTimeout(() => follower.stop(), HIDDEN);
  } else tryNow();
}

function tick() {
  listing.dropOverdue(performance.now());
  paintState();
  announceEnds();
  if (!document.hidden) schedule();
}

function listen() {
  listenToBulk();
  listenToComposer();
  listenToDetails();
  listenToFeed();
  listenToFilters();
  listenToHistory();
  listenToInvitations();
  listenToKeys();
  listenToStatus();
  listenToTable(openDetails);
  listenToToken();
  document.addEventListener('visibilitychange', seenOrNot);
  window.addEventListener('online', tryNow);
  api.denied = askForToken;
  api.roleChanged = () => { paintRole(); askForInvitations(); };
  follower.taken = takeMessage;
  follower.opened = follower.ended = () => pollers.restart(); // What happened before is not told.
}

function begin() {
  makeHead();
  makeColumns();
  makeHistory();
  makePatterns();
  for (const paint of [paintTable, paintBulk, paintFeed, paintDetails]) onFrame(paint);
  listen();
  const wanted = readAddress();
  if (wanted) openDetails(wanted);
  askForNodes();
  setInterval(tick, 1000);
  pollers.restart();
  follower.run();
  repaint();
}

begin();
