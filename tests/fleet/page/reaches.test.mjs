// How reaches are told.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {begun, over, soFar, whose} from '../../../thing/fleet/page/reaches.mjs';

const MIDNIGHT = new Date(2024, 1, 29, 0, 0, 7).getTime() / 1000;

const reach = (changes = {}) => ({id: '0123456789abcdef', thing: 'lamp', service: 'ssh',
  by: 'alice', key: 'SHA256:abc', from: '192.0.2.1:9', since: MIDNIGHT, node: 'north',
  octetsUp: 1200, octetsDown: 3456789, ...changes});

test('a reach is somebody’s, from an address', () => {
  assert.equal(whose(reach()), 'by alice from 192.0.2.1:9');
  assert.equal(begun(reach()), 'ssh by alice from 192.0.2.1:9');
});

test('an open one is told with its age, and what has moved each way', () => {
  assert.equal(soFar(reach(), MIDNIGHT + 300),
    'since 29 Feb 2024, 00:00:07 (5 min), 1.2 kB to it, 3.5 MB from it');
});

test('one that is over is told with its length, and why', () => {
  const told = 'ssh by alice from 192.0.2.1:9, after 1 min, 1.2 kB to it, 3.5 MB from it: ';
  for (const [reason, words] of [['DONE', 'closed'], ['ENDED', 'somebody ended it'],
    ['NOT_PERMITTED', 'not permitted any more'], [256, 'code 256'], ['NEW', 'code NEW']]) {
    assert.equal(over(reach({duration: 61, reason})), told + words);
  }
});

test('what others call themselves is text', () => {
  assert.equal(begun(reach({by: '<b>\u202e', service: 's\n', from: ''})),
    's⟨U+000A⟩ by <b>⟨U+202E⟩ from ⟨blank⟩');
});
