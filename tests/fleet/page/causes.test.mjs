// The words for why sessions end.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {CAUSES, cause, isBad} from '../../../thing/fleet/page/causes.mjs';

test('every cause has words of its own; one that is not known has its name', () => {
  assert.equal(new Set([...CAUSES.values()].map((one) => one.word)).size, CAUSES.size);
  assert.deepEqual(cause('NEW\u202e'),
    {word: 'new⟨u+202e⟩', legend: 'new⟨u+202e⟩', style: 'other'});
});

test('a goodbye and a replacement are no bad ends; all others are, if there was an end', () => {
  assert.deepEqual([...CAUSES.keys()].filter((name) => !isBad(name)), ['GOODBYE', 'REPLACED']);
  assert.equal(isBad('NEW'), true);
  assert.equal(isBad(undefined), false);
});
