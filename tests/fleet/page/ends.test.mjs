// The ends by reason: the sums of a minute, of an hour, and their bars.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {barsOf, endsOf, inWords} from '../../../thing/fleet/page/ends.mjs';

const NOW = 100 * 60 + 59; // In the last second of minute 100.

const minute = (number, causes) => [number * 60, causes];
const node = (...minutes) => ({node: 'north', minutes});

test('the ends of all nodes are summed by minute, the earliest first', () => {
  const {minutes, sums, total, most} = endsOf([
    node(minute(100, {GOODBYE: 1}), minute(99, {GOODBYE: 2})),
    node(minute(100, {GOODBYE: 3, ABORTED: 1})), {node: 'lost'}], NOW);
  assert.deepEqual(minutes, [minute(99, {GOODBYE: 2}), minute(100, {GOODBYE: 4, ABORTED: 1})]);
  assert.deepEqual(sums, {GOODBYE: 6, ABORTED: 1});
  assert.deepEqual([total, most], [7, 5]);
});

test('an hour has sixty minutes, of which this is the last', () => {
  const {first, minutes, total} = endsOf([node(minute(40, {ABORTED: 1}), minute(41, {ABORTED: 1}),
    minute(100, {ABORTED: 1}))], NOW);
  assert.equal(first, 41 * 60);
  assert.deepEqual(minutes.map(([at]) => at / 60), [41, 100]);
  assert.equal(total, 2);
  assert.equal(endsOf([], NOW + 1).first, 42 * 60);
});

test('causes are in one order, those that the page does not know last, and none without ends',
  () => {
  const {names} = endsOf([node(minute(100, {NEW: 1, ABORTED: 2, GOODBYE: 1, LAPSED: 0}))], NOW);
  assert.deepEqual(names, ['GOODBYE', 'ABORTED', 'NEW']);
});

test('without ends there is nothing to draw', () => {
  const {minutes, names, total, most} = endsOf([node()], NOW);
  assert.deepEqual([minutes, names, total, most], [[], [], 0, 1]);
});

test('the parts of a bar stand on each other, and the highest bar fills the chart', () => {
  const ends = endsOf([node(minute(41, {GOODBYE: 1, ABORTED: 3}), minute(100, {GOODBYE: 2}))], NOW);
  const [low, high] = barsOf(ends.minutes[0], ends);
  assert.deepEqual(low, {name: 'GOODBYE', x: 0.5, y: 54.5, width: 4, height: 17.5});
  assert.deepEqual(high, {name: 'ABORTED', x: 0.5, y: 2, width: 4, height: 52.5});
  const [last] = barsOf(ends.minutes[1], ends);
  assert.deepEqual([last.x, last.height], [295.5, 35]);
});

test('what is drawn is said in words, too', () => {
  assert.equal(inWords({FLAT_LINED: 1200, GOODBYE: 1}, ['GOODBYE', 'FLAT_LINED', 'ABORTED']),
    '1 goodbye, 1,200 flat line');
});
