// Which things are listed, after answers and events in whatever order.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {Listing} from '../../../thing/fleet/page/listing.mjs';
import {View} from '../../../thing/fleet/page/view.mjs';

import {event, record} from './made.mjs';

// A listing, and the records that it noted; it was answered at 10 s if there are things.
function listingOf(things, {following = null, ...changes} = {}) {
  const noted = [];
  const listing = new Listing(Object.assign(new View(), changes), (one) => noted.push(one));
  if (things) listing.takePage(answer(things, following), 9000, 10000);
  return {listing, noted};
}

const answer = (things, following = null) => ({node: 'north', things, following, complete: true});
const ids = (listing) => [...listing.entries.keys()].sort();

test('an answer is listed, with the node that gave it and where the next page begins', () => {
  const {listing, noted} = listingOf([record({id: 'a'}), record({id: 'b'})], {following: 'b'});
  assert.deepEqual(ids(listing), ['a', 'b']);
  assert.deepEqual([listing.node, listing.following, listing.loaded], ['north', 'b', true]);
  assert.deepEqual(noted.map((one) => one.id), ['a', 'b']);
});

test('who is no more in the answer is taken off, unless an event came since it was asked for',
  () => {
  const {listing} = listingOf([record({id: 'a'}), record({id: 'b'})]);
  listing.hear(event('joined', {id: 'c', epoch: 2}), 11000, true);
  listing.takePage(answer([record({id: 'a'})]), 10900, 11100);
  assert.deepEqual(ids(listing), ['a', 'c']);
  listing.takePage(answer([record({id: 'a'})]), 12000, 12100);
  assert.deepEqual(ids(listing), ['a']);
});

test('what a server says that began anew is no older than what it said before', () => {
  const {listing} = listingOf([record({id: 'a', epoch: 5000, sequence: 9, session: 'before'})]);
  const things = [record({id: 'a', epoch: 4000, sequence: 1, session: 'now'})];
  listing.takePage(answer(things), 10900, 11000);
  assert.equal(listing.get('a').record.session, 'before');
  listing.forgetOrder();
  listing.takePage(answer(things), 11900, 12000);
  assert.equal(listing.get('a').record.session, 'now');
});

test('an old answer does not undo what an event told', () => {
  const {listing, noted} = listingOf([record({sequence: 3})]);
  listing.hear(event('late', {sequence: 4}), 11000, true);
  noted.length = 0;
  listing.takePage(answer([record({sequence: 3})]), 10000, 11100);
  assert.equal(listing.get('lamp').record.status, 'late');
  assert.deepEqual(noted, []);
});

test('an old event does not undo what an answer told', () => {
  const {listing} = listingOf([record({epoch: 2, sequence: 5})]);
  for (const old of [event('left', {epoch: 1, sequence: 9, cause: 'ABORTED'}),
    event('late', {epoch: 2, sequence: 4})]) {
    listing.hear(old, 11000, false);
    assert.equal(listing.get('lamp').record.status, 'present', old.kind);
    assert.equal(listing.get('lamp').leaves, 0, old.kind);
  }
});

test('a thing goes late, and is present again', () => {
  const {listing} = listingOf([record()]);
  listing.hear(event('late', {sequence: 2}), 11000, true);
  assert.equal(listing.get('lamp').record.status, 'late');
  listing.hear(event('message', {sequence: 3}), 11000, true);
  assert.equal(listing.get('lamp').record.status, 'late');
  listing.hear(event('renewed', {sequence: 4, at: 1090}), 11000, true);
  assert.equal(listing.get('lamp').record.status, 'present');
  assert.equal(listing.get('lamp').record.sequence, 4);
  assert.equal(listing.get('lamp').record.lastSeen, 1090);
});

test('a thing that left lingers for ten seconds with its cause, whatever the answers say', () => {
  const {listing} = listingOf([record()]);
  listing.hear(event('left', {cause: 'FLAT_LINED'}), 11000, true);
  const entry = listing.get('lamp');
  assert.deepEqual([entry.record.status, entry.cause], ['gone', 'FLAT_LINED']);
  listing.takePage(answer([]), 15000, 15100);
  listing.dropOverdue(21000);
  assert.deepEqual(ids(listing), ['lamp']);
  listing.dropOverdue(21001);
  assert.deepEqual(ids(listing), []);
});

test('a thing that left is taken off at its time even if no answer comes', () => {
  const {listing} = listingOf([record({id: 'a'}), record({id: 'b'})]);
  listing.hear(event('left', {id: 'a', cause: 'ABORTED'}), 11000, true);
  listing.dropOverdue(99000);
  assert.deepEqual(ids(listing), ['b']);
});

test('a thing that comes back while it lingers stays, in its new session', () => {
  const {listing, noted} = listingOf([record()]);
  listing.hear(event('left', {cause: 'ABORTED'}), 11000, true);
  noted.length = 0;
  listing.hear(event('joined', {session: 's2', epoch: 2, sequence: 1, at: 1500}), 12000, true);
  listing.dropOverdue(99000);
  const {record: now, cause} = listing.get('lamp');
  assert.deepEqual([now.status, now.session, now.since, cause], ['present', 's2', 1500, undefined]);
  assert.deepEqual(noted, [now]);
});

test('of a thing that is listed as gone the cause is that of its latest end', () => {
  const endings = [{cause: 'FLAT_LINED'}, {cause: 'ABORTED'}];
  const {listing} = listingOf([record({id: 'a', status: 'gone', endings}),
    record({id: 'b', status: 'gone'}), record({id: 'c', endings})], {status: 'gone'});
  assert.deepEqual(['a', 'b', 'c'].map((id) => listing.get(id).cause),
    ['FLAT_LINED', undefined, undefined]);
});

test('what a thing said before it left does not make it stay, nor go at once', () => {
  const {listing} = listingOf([record()]);
  listing.hear(event('left', {cause: 'ABORTED'}), 11000, true);
  for (const kind of ['message', 'lastWord', 'twins']) {
    listing.hear(event(kind, {sequence: 3}), 12000, true);
    assert.equal(listing.get('lamp').leaves, 21000, kind);
  }
});

test('where those that are gone are listed, one that leaves stays', () => {
  const {listing} = listingOf([record()], {status: 'gone'});
  listing.hear(event('left', {cause: 'ABORTED'}), 11000, true);
  listing.dropOverdue(99000);
  assert.deepEqual(ids(listing), ['lamp']);
});

test('who joins is listed at once, if the view has a place for it', () => {
  const {listing} = listingOf([record({id: 'b'}), record({id: 'd'})], {following: 'd', q: 'b'});
  const joins = (changes) => listing.hear(event('joined', {name: 'b', ...changes}), 11000, true);
  joins({id: 'c'});
  joins({id: 'e'}); // It is of the next page.
  joins({id: 'b2', name: 'x', address: '', fingerprint: ''});
  joins({id: 'b1', name: 'none', address: '', fingerprint: ''});
  joins({id: 'a', name: 'none', address: '', fingerprint: ''}); // It does not match.
  assert.deepEqual(ids(listing), ['b', 'b1', 'b2', 'c', 'd']);
});

test('a thing that moves here is listed; of others only the joining makes them known', () => {
  const {listing} = listingOf([]);
  for (const kind of ['late', 'renewed', 'message', 'lastWord', 'left', 'twins']) {
    listing.hear(event(kind), 11000, true);
  }
  assert.deepEqual(ids(listing), []);
  listing.hear(event('moved', {fromNode: 'south'}), 11000, true);
  assert.deepEqual(ids(listing), ['lamp']);
});

test('what joins while the page is open is new, and what was there before is not', () => {
  const {listing} = listingOf([record({id: 'a'})]);
  listing.hear(event('joined', {id: 'b'}), 11000, true);
  assert.deepEqual(['a', 'b'].map((id) => listing.get(id).isNew), [false, true]);
});

test('who came and went before the page was opened is not listed', () => {
  const {listing} = listingOf([record({id: 'a'})]);
  listing.hear(event('joined', {id: 'b'}), 11000, false);
  listing.hear(event('left', {id: 'b', sequence: 3, cause: 'ABORTED'}), 11000, false);
  assert.deepEqual(ids(listing), ['a']);
});

test('before the first answer, and while another view is asked for, nobody is added', () => {
  const {listing} = listingOf(null);
  listing.hear(event('joined'), 1000, true);
  assert.deepEqual(ids(listing), []);
  const other = listingOf([record({id: 'a'})]).listing;
  other.begin();
  other.hear(event('joined', {id: 'b'}), 11000, true);
  assert.deepEqual(ids(other), ['a']);
});

test('the answer for another view takes off all that is not in it, lingering or not', () => {
  const {listing} = listingOf([record({id: 'a'}), record({id: 'b'})]);
  listing.hear(event('left', {id: 'a', cause: 'ABORTED'}), 11000, true);
  listing.begin();
  listing.takePage(answer([record({id: 'c'})]), 11000, 11100);
  assert.deepEqual(ids(listing), ['c']);
});

test('however many join, a page has no more than was chosen; the rest is on the next', () => {
  const {listing} = listingOf([record({id: 'm'})], {limit: 3});
  for (const id of ['p', 'n', 'o', 'l']) listing.hear(event('joined', {id}), 11000, true);
  assert.deepEqual(ids(listing), ['l', 'm', 'n']);
  assert.equal(listing.following, 'n');
});

test('those that have left take no place from the others, and are as many at most', () => {
  const things = ['a', 'b', 'c', 'd'].map((id) => record({id}));
  const {listing} = listingOf(things.slice(0, 2), {limit: 2});
  for (const id of ['a', 'b']) listing.hear(event('left', {id, cause: 'ABORTED'}), 11000, true);
  listing.takePage(answer(things.slice(2)), 11000, 11100);
  assert.deepEqual(ids(listing), ['a', 'b', 'c', 'd']);
  for (const id of ['c', 'd']) listing.hear(event('left', {id, cause: 'ABORTED'}), 11200, true);
  listing.takePage(answer([]), 11300, 11400);
  assert.deepEqual(ids(listing), ['a', 'b']);
});
