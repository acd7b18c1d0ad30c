// What a node's figures were: lines, words and rows.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {CHARTS, HEADINGS, drawn, placeOf, pointAt, reachOf, rowsOf, valuesAt}
  from '../../../thing/fleet/page/past.mjs';

const answerOf = (changes = {}) => ({node: 'north', span: '1h', step: 10, at: [1000, 1010, 1020],
  seconds: [10, 10, 10], sessions: [1, 3, 2], joined: [1, 2, 0], left: [0, 0, 1],
  heartbeats: [0, 5, 200], messages: [0, 0, 0], roundTripP50: [null, .001, .002],
  roundTripP99: [null, .1, .2], ...changes});

const nothing = answerOf(Object.fromEntries(['at', 'seconds', 'sessions', 'joined', 'left',
  'heartbeats', 'messages', 'roundTripP50', 'roundTripP99'].map((key) => [key, []])));

const [sessions, changes, heartbeats, , trips] = CHARTS;

test('what was counted in a step is told as a rate, however long the step took', () => {
  const answer = answerOf({seconds: [10, 20, 10]});
  const told = (chart, point) => valuesAt(chart, answer, point).map((one) => one.words);
  assert.deepEqual([0, 1, 2].map((point) => told(heartbeats, point)[0]), ['0', '0.3', '20']);
  assert.deepEqual(told(changes, 1), ['6.0', '0']);
  assert.deepEqual(told(trips, 0), ['–', '–']);
  assert.deepEqual(told(trips, 2), ['2.0 ms', '200 ms']);
});

test('a chart goes as far back as the node is known, at most the span, and never no time', () => {
  assert.equal(reachOf(answerOf()), 180);
  assert.equal(reachOf(answerOf({at: [1000, 2000, 3000]})), 2010);
  assert.equal(reachOf(answerOf({at: [1000, 5000, 9000]})), 3600);
  assert.equal(reachOf(nothing), 180);
});

test('the latest point is at the right edge, and the nearest one is found', () => {
  const answer = answerOf();
  assert.deepEqual([0, 1, 2].map((point) => placeOf(answer, point, 180)), [160, 170, 180]);
  assert.deepEqual([-5, 164, 166, 500].map((place) => pointAt(answer, place, 180)), [0, 0, 1, 2]);
});

test('a line has a step for each point, from zero up, and a gap where nothing is known', () => {
  const {paths, most, words} = drawn(sessions, answerOf(), 180, 44);
  assert.deepEqual(paths, ['M150.0 29.2H160.0L160.0 2.5H170.0L170.0 15.8H180.0']);
  assert.equal(most, '3');
  assert.equal(words, 'Sessions: now 2, from 1 to 3');
  const gap = drawn(trips, answerOf({roundTripP50: [.1, null, .2]}), 180, 44).paths[0];
  assert.equal(gap.match(/M/g).length, 2);
});

test('several lines have names, and the same scale', () => {
  const {paths, most, words} = drawn(trips, answerOf(), 180, 44);
  assert.equal(paths.length, 2);
  assert.equal(most, '200 ms');
  assert.equal(words, 'Round trip: p50 now 2.0 ms, from 1.0 ms to 2.0 ms; ' +
    'p99 now 200 ms, from 100 ms to 200 ms');
});

test('nothing but zeros is a line, and nothing at all is said to be that', () => {
  assert.match(drawn(CHARTS[3], answerOf(), 180, 44).paths[0], /^M150.0 42.5H160.0L/);
  assert.deepEqual(drawn(sessions, nothing, 180, 44),
    {paths: [''], most: '', words: 'Sessions: nothing yet'});
});

test('the table has a row for each point, the latest first, and a heading for each value', () => {
  const rows = rowsOf(answerOf());
  assert.equal(rows.length, 3);
  for (const row of rows) assert.equal(row.length, HEADINGS.length);
  assert.deepEqual(rows[0].slice(1), ['2', '0', '6.0', '20', '0', '2.0 ms', '200 ms']);
  assert.deepEqual(rowsOf(nothing), []);
});
