// What is kept of what happens, and how it is told.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {Happenings, described} from '../../../thing/fleet/page/happenings.mjs';

import {event} from './made.mjs';

function happeningsOf(...events) {
  const happenings = new Happenings();
  for (const one of events) happenings.keep(one, true);
  return happenings;
}

const kindsOf = (events) => events.map((one) => one.kind);

test('each event is taken once, the latest first', () => {
  const happenings = happeningsOf(event('joined'), event('late'));
  assert.deepEqual(kindsOf(happenings.take([], false, 100)), ['late', 'joined']);
  happenings.keep(event('renewed'), true);
  assert.equal(happenings.fresh, 1);
  assert.deepEqual(kindsOf(happenings.take([], false, 100)), ['renewed']);
  assert.deepEqual(happenings.take([], false, 100), []);
});

test('for another choice of kinds all are taken again, as far as they are kept', () => {
  const happenings = happeningsOf(event('joined'), event('late'), event('renewed'));
  happenings.take([], false, 100);
  assert.deepEqual(kindsOf(happenings.take(['late', 'renewed'], true, 100)), ['renewed', 'late']);
  assert.deepEqual(kindsOf(happenings.take([], true, 2)), ['renewed', 'late']);
});

test('of however many events the latest three hundred are kept', () => {
  const happenings = new Happenings();
  for (let sequence = 1; sequence <= 1000; sequence += 1) {
    happenings.keep(event('message', {sequence, text: ''}), true);
  }
  const taken = happenings.take([], false, 1000);
  assert.deepEqual([taken.length, taken[0].sequence, taken[299].sequence], [300, 1000, 701]);
});

test('a long message is kept as far as it is shown', () => {
  const [text] = happeningsOf(event('message', {text: 'm'.repeat(9000)})).events;
  assert.equal(text.text, `${'m'.repeat(300)} … (9,000 characters)`);
  const [octets] = happeningsOf(event('message', {base64: 'A'.repeat(400)})).events;
  assert.equal(octets.base64, `${'A'.repeat(300)} … (400 characters)`);
});

test('ends without goodbye are counted, and announced every fifteen seconds at most', () => {
  const happenings = happeningsOf(event('left', {cause: 'ABORTED'}),
    event('left', {cause: 'GOODBYE'}), event('left', {cause: 'FLAT_LINED'}), event('late'));
  happenings.keep(event('left', {cause: 'ABORTED'}), false); // It was before the page was opened.
  assert.equal(happenings.takeEnds(20000), 2);
  happenings.keep(event('left', {cause: 'ABORTED'}), true);
  assert.equal(happenings.takeEnds(34999), 0);
  assert.equal(happenings.takeEnds(35000), 1);
  assert.equal(happenings.takeEnds(99000), 0);
});

test('each kind of event is told with what matters of it', () => {
  const told = [
    [event('joined'), 'good joined joined: from 192.0.2.1:9 at north'],
    [event('joined', {resumed: true}), 'good joined joined: from 192.0.2.1:9 at north, resumed'],
    [event('moved', {fromNode: 'south'}), 'good moved moved: from south to north'],
    [event('moved', {fromNode: 'north'}), 'good moved moved: to a new session at north'],
    [event('late', {silence: 31.26}), 'late late late: missed a heartbeat; silent for 31.3 s'],
    [event('renewed', {roundTripTime: 0.02}), 'good renewed beats again: round trip 20 ms'],
    [event('message', {text: 'on'}), ' message says: “on”'],
    [event('message', {text: ''}), ' message says: “⟨blank⟩”'],
    [event('message', {base64: '/w=='}), ' message says: octets, base64: /w=='],
    [event('lastWord', {text: 'bye'}), 'late message last word: “bye”'],
    [event('left', {cause: 'GOODBYE', detail: 'bye'}), ' left left: bye'],
    [event('left', {cause: 'FLAT_LINED', detail: 'silence'}), 'bad bad flat-lined: silence'],
    [event('left', {cause: 'REPLACED', detail: 'by itself'}), ' left replaced: by itself'],
    [event('twins', {wait: 75}),
      'bad twins twins: two with the same key keep replacing each other; others wait 1 min'],
    [event('reached', {service: 'ssh', by: 'alice', key: 'SHA256:abc', from: '192.0.2.7:9'}),
      ' reach is reached: ssh by alice from 192.0.2.7:9'],
    [event('reachEnded', {service: 'ssh', by: 'alice', key: 'SHA256:abc', from: '192.0.2.7:9',
      duration: 75, octetsUp: 10, octetsDown: 2000, reason: 'ENDED'}),
    ' reach reach ended: ssh by alice from 192.0.2.7:9, after 1 min, 10 B to it, 2.0 kB from it: '
      + 'somebody ended it'],
    [{kind: 'reset', at: 1}, 'late late events were lost: The table was asked for anew.'],
    [event('odd\u202e'), ' message odd⟨U+202E⟩: '],
  ];
  for (const [one, expected] of told) {
    const {tone, symbol, verb, words} = described(one);
    assert.equal(`${tone} ${symbol} ${verb}: ${words}`, expected);
  }
});

test('what things and nodes say is text, and stays in its line', () => {
  assert.equal(described(event('message', {text: '<b>21\n\t5</b> \u202e'})).words,
    '“<b>21 5</b> ⟨U+202E⟩”');
  assert.equal(described(event('joined', {address: '\u202e', node: ''})).words,
    'from ⟨U+202E⟩ at ⟨blank⟩');
  const left = event('left', {cause: 'GOODBYE', detail: 'a\u2028b'});
  assert.equal(described(left).words, 'a⟨U+2028⟩b');
});
