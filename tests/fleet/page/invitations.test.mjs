// What is asked for an invitation, how each is told, and the path of a QR code.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {inOrder, isOpen, isPending, isWaiting, pathOfCode, told, wishOf}
  from '../../../thing/fleet/page/invitations.mjs';

const invitation = (changes = {}) => ({id: '0123456789abcdef', name: 'lamp',
  state: 'open', expires: 4600, confirm: false, replace: false,
  fingerprint: '', ...changes});

test('what was typed is asked for: the name, each server, and for how many seconds', () => {
  assert.deepEqual(wishOf({name: ' lamp 1 ', servers: ' a.example:1, [2001:db8::1]:2\nb:3 ',
    lifetime: '3600', confirm: true, replace: false}),
  {name: 'lamp 1', servers: ['a.example:1', '[2001:db8::1]:2', 'b:3'], lifetime: 3600,
    confirm: true, replace: false});
});

test('each state is told in words, and a strange one as text', () => {
  const cases = [
    [{}, 'gone open for 1 h 0 min'],
    [{confirm: true}, 'gone open for 1 h 0 min, with your yes'],
    [{expires: 1000}, 'bad ran out'],
    [{state: 'waiting'}, 'late a key waits for your yes'],
    [{state: 'claimed'}, 'late a key is about to join'],
    [{state: 'used', expires: 1000}, 'present has joined'],
    [{state: 'odd\u202e'}, 'gone odd⟨U+202E⟩'],
    [{state: 'constructor'}, 'gone constructor'],
  ];
  for (const [changes, expected] of cases) {
    const {symbol, words} = told(invitation(changes), 1000);
    assert.equal(`${symbol} ${words}`, expected);
  }
});

test('a secret is of use while its invitation is open, and its time is not over', () => {
  assert.equal(isOpen(invitation(), 4599), true);
  assert.equal(isOpen(invitation(), 4600), false);
  for (const state of ['waiting', 'claimed', 'used']) {
    assert.equal(isOpen(invitation({state}), 1000), false);
  }
  assert.equal(isOpen({}, 1000), false);
});

test('one that waits is for the user to decide; one that was used is decided', () => {
  const states = ['open', 'waiting', 'claimed', 'used'].map((state) => invitation({state}));
  assert.deepEqual(states.map(isWaiting), [false, true, false, false]);
  assert.deepEqual(states.map(isPending), [true, false, true, false]);
});

test('those that wait come first, then those that end soonest', () => {
  const given = [invitation({id: 'a', expires: 3}), invitation({id: 'b', expires: 2}),
    invitation({id: 'c', expires: 9, state: 'waiting'})];
  assert.deepEqual(inOrder(given).map(({id}) => id), ['c', 'b', 'a']);
  assert.deepEqual(given.map(({id}) => id), ['a', 'b', 'c']);
});

test('the dark modules of a code are drawn run by run', () => {
  assert.equal(pathOfCode(['1101', '0000', '0010']), 'M0 0h2v1h-2zM3 0h1v1h-1zM2 2h1v1h-1z');
  assert.equal(pathOfCode([]), '');
});
