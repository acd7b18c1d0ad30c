// Which heartbeats are remembered, and the line that they make.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {Beats, sparkline} from '../../../thing/fleet/page/beats.mjs';

import {event, record, traffic} from './made.mjs';

// What is remembered after these records and events, in their order.
function historyAfter(...told) {
  const beats = new Beats();
  for (const one of told) one.kind ? beats.hear(one) : beats.note(one);
  return beats.of('lamp');
}

const beating = (heartbeats, lastSeen, changes = {}) =>
  record({lastSeen, traffic: traffic({heartbeats, roundTripTime: heartbeats / 1000}), ...changes});

test('each heartbeat is remembered once, however often the server is asked', () => {
  const {beats} = historyAfter(beating(1, 1010), beating(1, 1010), beating(2, 1020));
  assert.deepEqual(beats,
    [{at: 1000, trip: null}, {at: 1010, trip: 0.001}, {at: 1020, trip: 0.002}]);
});

test('the line breaks where a new session began', () => {
  const {beats} = historyAfter(beating(5, 1010),
    beating(1, 1050, {session: 's2', epoch: 2, since: 1040}));
  assert.deepEqual(beats.map((one) => one.trip), [null, 0.005, null, 0.001]);
  assert.equal(beats[2].at, 1040);
});

test('a time without heartbeats begins with the last one, and ends with the next', () => {
  const late = event('late', {at: 1045, sequence: 2, silence: 35});
  assert.deepEqual(historyAfter(beating(1, 1010), late).missed, [{from: 1010, to: 0}]);
  const renewed = event('renewed', {at: 1050, sequence: 3});
  assert.deepEqual(historyAfter(beating(1, 1010), late, renewed).missed, [{from: 1010, to: 1050}]);
});

test('that somebody reaches a late thing is no heartbeat', () => {
  const late = event('late', {at: 1045, sequence: 2, silence: 35});
  for (const kind of ['reached', 'reachEnded']) {
    assert.deepEqual(historyAfter(beating(1, 1010), late, event(kind, {at: 1050, sequence: 3}))
      .missed, [{from: 1010, to: 0}]);
  }
});

test('lateness that only an answer tells is remembered, too, and once', () => {
  const late = beating(1, 1010, {status: 'late'});
  const {missed} = historyAfter(late, late, event('late', {silence: 9}));
  assert.deepEqual(missed, [{from: 1010, to: 0}]);
  assert.deepEqual(historyAfter(late, beating(2, 1060)).missed, [{from: 1010, to: 1060}]);
});

test('the line ends where the thing left, and goes on with its next session', () => {
  const left = event('left', {at: 1030});
  assert.equal(historyAfter(beating(1, 1010), left).end, 1030);
  assert.equal(historyAfter(record({status: 'gone', lastSeen: 1030})).end, 1030);
  const joined = event('joined', {at: 1040, epoch: 2, sequence: 1, session: 's2'});
  assert.equal(historyAfter(beating(1, 1010), left, joined).end, 0);
  const next = beating(1, 1050, {session: 's2', epoch: 2});
  assert.equal(historyAfter(beating(1, 1010), left, next).end, 0);
});

test('an event of an earlier session does not end the line of this one', () => {
  const now = beating(1, 1050, {session: 's2', epoch: 2, sequence: 1});
  assert.equal(historyAfter(now, event('left', {at: 1030, epoch: 1, sequence: 9})).end, 0);
});

test('an event from before what the server told does not begin or end a time without heartbeats',
  () => {
  const late = beating(1, 1100, {status: 'late', sequence: 6});
  const before = [event('late', {at: 1045, sequence: 2, silence: 35}),
    event('renewed', {at: 1050, sequence: 3})];
  assert.deepEqual(historyAfter(late, ...before).missed, [{from: 1100, to: 0}]);
  assert.deepEqual(historyAfter(beating(1, 1100, {sequence: 6}), ...before).missed, []);
});

test('a record from before what was told last changes nothing', () => {
  const now = beating(1, 1050, {session: 's2', epoch: 2, since: 1040});
  const old = beating(5, 1020, {status: 'late'});
  assert.deepEqual(historyAfter(now, old), historyAfter(now));
  const late = event('late', {at: 1045, sequence: 3, silence: 35});
  const {missed} = historyAfter(beating(1, 1010), late, beating(2, 1011));
  assert.deepEqual(missed, [{from: 1010, to: 0}]);
});

test('of a thing that was never listed nothing is remembered, though it was looked at', () => {
  const {beats, missed, end} = historyAfter(event('late'), event('left'));
  assert.deepEqual([beats, missed, end], [[], [], 0]);
  const all = new Beats();
  all.of('lamp');
  all.hear(event('left'));
  assert.equal(all.of('lamp').end, 0);
});

test('no more than ninety heartbeats of six hundred things are remembered', () => {
  const beats = new Beats();
  for (let number = 1; number <= 200; number += 1) beats.note(beating(number, 1000 + number));
  assert.equal(beats.of('lamp').beats.length, 90);
  assert.equal(beats.of('lamp').beats[89].at, 1200);
  for (let number = 1; number < 600; number += 1) beats.note(record({id: `lamp-${number}`}));
  assert.equal(beats.of('lamp').beats.length, 90);
  beats.note(record({id: 'one more'}));
  assert.equal(beats.of('lamp').beats.length, 90); // It was looked at; lamp-1 was not.
  assert.equal(beats.of('lamp-1').beats.length, 0);
});

// Of ten times to live, in a picture of 240 by 22: one pixel a second, for eight of them.
const drawn = (history, now = 1240) =>
  sparkline({beats: [], missed: [], end: 0, ...history}, 30, now, 240, 22);

test('a line goes through the round trips from left to right, the slowest highest', () => {
  const {paths, words} = drawn({beats: [{at: 1000.5, trip: null}, {at: 1040, trip: 0.01},
    {at: 1100, trip: 0.02}]});
  assert.equal(paths.line, 'M40.0 10.3L100.0 3.7');
  assert.equal(paths.beats, 'M40.0 22v-3M100.0 22v-3');
  assert.equal(paths.dot, 'M100.0 3.7m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0');
  assert.equal(words, '2 beats, round trip 10 ms to 20 ms');
});

test('what is older than eight times to live is not drawn', () => {
  const beats = [{at: 900, trip: 0.5}, {at: 1000, trip: 0.5}, {at: 1200, trip: 0.01}];
  assert.equal(drawn({beats}).words, '1 beat, round trip 10 ms to 10 ms');
  assert.deepEqual(drawn({missed: [{from: 900, to: 1000}]}).paths.missed, '');
});

test('a time without heartbeats is a band, up to now or to the end while it is not over', () => {
  const band = (history) => drawn(history).paths.missed;
  assert.equal(band({missed: [{from: 1040, to: 1060}]}), 'M40.0 0H60.0V22H40.0Z');
  assert.equal(band({missed: [{from: 1040, to: 0}]}), 'M40.0 0H240.0V22H40.0Z');
  assert.equal(band({missed: [{from: 1040, to: 0}], end: 1090}), 'M40.0 0H90.0V22H40.0Z');
  assert.equal(band({missed: [{from: 900, to: 1090}]}), 'M0.0 0H90.0V22H0.0Z');
});

test('after the end the line is flat, and no dot says that it goes on', () => {
  const {paths} = drawn({beats: [{at: 1040, trip: 0.01}], end: 1090});
  assert.equal(paths.flat, 'M90.0 11H240');
  assert.equal(paths.dot, '');
});

test('without heartbeats there is no line, and that is said', () => {
  const {paths, words} = drawn({beats: [{at: 1040, trip: null}]});
  assert.deepEqual(Object.values(paths), ['', '', '', '', '']);
  assert.equal(words, 'no beats seen yet');
});
