// When the page is painted. The frames, the timers and the time are the test's.

import assert from 'node:assert/strict';
import {beforeEach, afterEach, test} from 'node:test';

import {onFrame, repaint, schedule} from '../../../thing/fleet/page/frame.mjs';

const FRAME = 16; // A frame is due so often, milliseconds.

const real = {setTimeout, clearTimeout, now: performance.now};
const timers = new Map();
let now = 1e6, paints = 0, frame = null, latest = 0;

onFrame(() => { paints += 1; });

beforeEach(() => {
  globalThis.requestAnimationFrame = (call) => { frame = call; return 1; };
  globalThis.setTimeout = (call, delay) => {
    timers.set(latest += 1, {call, due: now + delay});
    return latest;
  };
  globalThis.clearTimeout = (number) => timers.delete(number);
  performance.now = () => now;
  pass(1000); // What a test before has left is painted.
  paints = 0;
});

afterEach(() => {
  Object.assign(globalThis, {setTimeout: real.setTimeout, clearTimeout: real.clearTimeout});
  performance.now = real.now;
  delete globalThis.requestAnimationFrame;
});

function pass(milliseconds, everyMillisecond = () => {}) {
  for (const end = now + milliseconds; now < end;) {
    now += 1;
    everyMillisecond(now);
    for (const [number, {call, due}] of [...timers]) {
      if (due <= now && timers.delete(number)) call();
    }
    if (now % FRAME === 0 && frame) {
      const call = frame;
      frame = null;
      call();
    }
  }
}

test('however much happens, it is painted a few times a second', () => {
  pass(10000, (at) => { if (at % 10 === 0) schedule(); }); // A hundred events a second.
  assert.ok(paints >= 35 && paints <= 41, `${paints} paints`);
});

test('what happens after a pause is painted in the next frame, and what comes then later', () => {
  schedule();
  pass(FRAME);
  assert.equal(paints, 1);
  schedule();
  pass(200);
  assert.equal(paints, 1);
  pass(100);
  assert.equal(paints, 2);
  pass(1000);
  assert.equal(paints, 2);
});

test('what the user does shows in the next frame, with what has happened by then', () => {
  schedule();
  pass(FRAME);
  schedule();
  repaint();
  repaint();
  pass(FRAME);
  assert.equal(paints, 2);
  pass(1000); // Nothing is left to be painted.
  assert.equal(paints, 2);
});
