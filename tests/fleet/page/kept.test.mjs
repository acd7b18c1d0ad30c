// What the browser keeps, and what becomes of the page if it does not.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {storeOf} from '../../../thing/fleet/page/kept.mjs';

test('what is written is read again, until it is taken away', () => {
  const kept = new Map();
  const store = storeOf(() => ({getItem: (key) => kept.get(key) ?? null,
    setItem: (key, text) => kept.set(key, text), removeItem: (key) => kept.delete(key)}));
  assert.equal(store.read('key'), null);
  store.write('key', 'text');
  assert.equal(store.read('key'), 'text');
  store.write('key', null);
  assert.equal(store.read('key'), null);
});

test('where nothing may be kept, or there is no room, nothing is, and nothing fails', () => {
  const full = {getItem: () => null, setItem() { throw new Error('full'); }};
  for (const storage of [() => { throw new Error('forbidden'); }, () => full, () => undefined]) {
    const store = storeOf(storage);
    store.write('key', 'text');
    store.write('key', null);
    assert.equal(store.read('key'), null);
  }
});
