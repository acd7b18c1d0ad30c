// What is asked again and again, and when it is not.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {Pollers} from '../../../thing/fleet/page/polling.mjs';

// Pollers that note how each try went.
function pollersOf(isSeen = () => true) {
  const tries = [];
  const pollers = new Pollers({isSeen, reached: () => tries.push('reached'),
    failed: (error) => tries.push(error.message)});
  return {pollers, tries};
}

const soon = () => new Promise(setImmediate);

test('a poller asks at once when it is started, and tells that it was answered', async () => {
  const {pollers, tries} = pollersOf();
  let asked = 0;
  pollers.add(async () => { asked += 1; });
  assert.equal(asked, 0);
  pollers.restart();
  await soon();
  assert.equal(asked, 1);
  assert.deepEqual(tries, ['reached']);
  pollers.stop();
});

test('a failure is told', async () => {
  const {pollers, tries} = pollersOf();
  pollers.add(async () => { throw new Error('silent'); });
  pollers.restart();
  await soon();
  assert.deepEqual(tries, ['silent']);
  pollers.stop();
});

test('while the page is not seen nothing is asked', async () => {
  let seen = false, asked = 0;
  const {pollers} = pollersOf(() => seen);
  pollers.add(async () => { asked += 1; });
  pollers.restart();
  await soon();
  assert.equal(asked, 0);
  seen = true;
  pollers.restart();
  await soon();
  assert.equal(asked, 1);
  pollers.stop();
});

test('what is asked anew gives the question before up, and nobody is told of its end', async () => {
  const {pollers, tries} = pollersOf();
  const signals = [];
  const poller = pollers.add((signal) => new Promise((resolve, refuse) => {
    signals.push(signal);
    signal.addEventListener('abort', () => refuse(new Error('given up')));
    if (signals.length === 2) resolve();
  }));
  poller.restart();
  poller.restart();
  await soon();
  assert.deepEqual(signals.map((one) => one.aborted), [true, false]);
  assert.deepEqual(tries, ['reached']);
  pollers.stop();
});

test('the next time comes after the usual pause, which may be another each time', async (t) => {
  const {pollers} = pollersOf();
  const pauses = [];
  t.mock.method(globalThis, 'setTimeout', (work, pause) => { pauses.push(pause); });
  const usual = [10000, 2000];
  const poller = pollers.add(async () => {}, () => usual.shift());
  for (const _ of [1, 2]) {
    poller.restart();
    await soon();
  }
  assert.deepEqual(pauses, [10000, 2000]);
});

test('a poller that has nothing to ask tells nothing, and keeps no timer', async () => {
  const {pollers, tries} = pollersOf();
  pollers.add(async () => false);
  pollers.restart();
  await soon();
  assert.deepEqual(tries, []); // The test would not end if a timer was left.
});
