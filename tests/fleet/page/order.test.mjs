// What comes first, of ids, of records and events, and of rows.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {COLUMNS, comparison, compareIds, notOlder} from '../../../thing/fleet/page/order.mjs';

import {record} from './made.mjs';

const sorted = (key, down, records) => records.sort(comparison(key, down)).map((one) => one.id);

// The same as in tests/fleet/test_order.py.
const ORDERED = ['', '#1', '0', '00', '01', '1', '9a', '10', '10a', 'Lamp', 'lamp', 'lamp-1',
  'lamp-2', 'lamp-010', 'lamp-10', 'lamp-10-1', 'lamp-10-2', 'lamp-١', 'lamp1', 'v1.9', 'v1.10',
  'ä', '\uffee', '💡'];

test('ids are sorted as the server pages them: numbers by value, all else by code points', () => {
  assert.deepEqual([...ORDERED].reverse().sort(compareIds), ORDERED);
});

test('an id equals itself and no other', () => {
  assert.equal(compareIds('💡1', '💡1'), 0);
  assert.ok(compareIds('a', 'ab') < 0);
  assert.ok(compareIds('ab', 'a') > 0);
});

test('the epoch decides what is newer, and within one epoch the number of the event', () => {
  const known = {epoch: 2, sequence: 5};
  for (const [epoch, sequence, expected] of [[2, 5, true], [2, 6, true], [2, 4, false],
    [3, 1, true], [1, 99, false]]) {
    assert.equal(notOlder({epoch, sequence}, known), expected, `${epoch}, ${sequence}`);
  }
});

test('what has no place among the events is not taken for newer', () => {
  assert.equal(notOlder({}, {epoch: 1, sequence: 1}), false);
});

test('without another choice rows are sorted by id, and both ways', () => {
  const records = ['b', 'a', 'c'].map((id) => record({id}));
  assert.deepEqual(sorted('id', false, records), ['a', 'b', 'c']);
  assert.deepEqual(sorted('id', true, records), ['c', 'b', 'a']);
});

test('nodes and addresses are sorted as ids are', () => {
  const records = ['10.0.0.10:1', '10.0.0.2:10', '10.0.0.2:9'].map((address, at) =>
    record({id: `${at}`, node: ['node-10', 'node-2', 'node-1'][at], address}));
  assert.deepEqual(sorted('node', false, records), ['2', '1', '0']);
  assert.deepEqual(sorted('address', false, records), ['2', '1', '0']);
});

test('what needs attention is first: late, then gone, then present', () => {
  const records = ['present', 'gone', 'late'].map((status) => record({id: status, status}));
  assert.deepEqual(sorted('status', false, records), ['late', 'gone', 'present']);
});

test('durations are sorted by their length, and not by when they began', () => {
  const records = [record({id: 'old', since: 10, lastSeen: 90}),
    record({id: 'new', since: 80, lastSeen: 85})];
  assert.deepEqual(sorted('since', false, records), ['new', 'old']);
  assert.deepEqual(sorted('beat', false, records), ['old', 'new']);
});

test('figures are sorted as numbers, and those that are not known are the least', () => {
  const figures = (roundTripTime, messagesIn) => ({roundTripTime, messagesIn, messagesOut: 1,
    octetsIn: 1, octetsOut: messagesIn});
  const records = [record({id: 'ten', traffic: figures(0.1, 10)}),
    record({id: 'nine', traffic: figures(0.09, 9)}), record({id: 'none', traffic: null}),
    record({id: 'unmeasured', traffic: figures(null, 0)})];
  for (const key of ['messages', 'octets']) {
    assert.deepEqual(sorted(key, false, records), ['none', 'unmeasured', 'nine', 'ten'], key);
  }
  assert.deepEqual(sorted('trip', true, records), ['ten', 'nine', 'unmeasured', 'none']);
});

test('between equals the id decides, so that rows do not jump', () => {
  const records = ['b', 'c', 'a'].map((id) => record({id, node: 'north'}));
  for (const [key] of COLUMNS) assert.deepEqual(sorted(key, false, records), ['a', 'b', 'c'], key);
});
