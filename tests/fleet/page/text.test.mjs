// How text, numbers, sizes and times are written.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {count, counted, dateAndTime, duration, hourAndMinute, octets, roundTrip, shortened,
  timeOfDay, visible} from '../../../thing/fleet/page/text.mjs';

// What each of these is written as.
function written(format, pairs) {
  for (const [value, expected] of pairs) assert.equal(format(value), expected, `of ${value}`);
}

test('text that can be seen stays as it is', () => {
  written(visible, [['lamp 1', 'lamp 1'], ['<b>&amp;</b>', '<b>&amp;</b>'], ['Größe', 'Größe'],
    ['灯', '灯'], ['💡', '💡'], [21.5, '21.5']]);
});

test('what is invisible, or turns the text around it, is written as its number', () => {
  written(visible, [['gpj.\u202eexe', 'gpj.⟨U+202E⟩exe'], ['a\0b', 'a⟨U+0000⟩b'],
    ['a\u200bb', 'a⟨U+200B⟩b'], ['a\nb', 'a⟨U+000A⟩b'], ['a\u2028b', 'a⟨U+2028⟩b'],
    ['a\u{e0041}b', 'a⟨U+E0041⟩b'], ['a\ud800b', 'a⟨U+D800⟩b']]);
});

test('letters and symbols that are drawn as nothing are invisible, too', () => {
  written(visible, [['lamp\u3164', 'lamp⟨U+3164⟩'], ['\u115f', '⟨U+115F⟩'],
    ['lamp\u2800', 'lamp⟨U+2800⟩'], ['la\u034fmp', 'la⟨U+034F⟩mp'],
    ['lamp\ufe0f', 'lamp⟨U+FE0F⟩']]);
});

test('a joiner is a part of words that need it, and else is invisible', () => {
  for (const word of ['\u0645\u06cc\u200c\u062e\u0648\u0627', '\u0915\u094d\u200d\u0937']) {
    assert.equal(visible(word), word);
  }
  written(visible, [['la\u200cmp', 'la⟨U+200C⟩mp'], ['\u06cc\u200c', '\u06cc⟨U+200C⟩'],
    ['\u200d\u0937', '⟨U+200D⟩\u0937'], ['a\u200c\u062e', 'a⟨U+200C⟩\u062e']]);
});

test('a symbol may say that it has colours', () => {
  written(visible, [['21 ☀\ufe0f', '21 ☀\ufe0f'], ['☀\ufe0f\ufe0f', '☀\ufe0f⟨U+FE0F⟩']]);
});

test('of what is invisible only that is kept which the caller names', () => {
  assert.equal(visible('a\n\tb\r', '\n\t'), 'a\n\tb⟨U+000D⟩');
});

test('text of which nothing can be seen is said to be blank', () => {
  written(visible, [['', '⟨blank⟩'], ['  ', '⟨blank⟩'], ['\u3000', '⟨blank⟩'], [null, '⟨blank⟩'],
    [undefined, '⟨blank⟩']]);
});

test('text up to the limit is whole; longer text is cut, and its length told', () => {
  assert.equal(shortened('m'.repeat(300), 300), 'm'.repeat(300));
  assert.equal(shortened('m'.repeat(301), 300), `${'m'.repeat(300)} … (301 characters)`);
  assert.equal(shortened('m'.repeat(9000), 300), `${'m'.repeat(300)} … (9,000 characters)`);
  assert.equal(shortened(undefined, 300), '');
});

test('no character is cut in two, and each counts as one', () => {
  assert.equal(shortened('m💡💡', 2), 'm … (3 characters)');
  assert.equal(shortened('m💡💡', 3), 'm💡 … (3 characters)');
  assert.equal(shortened('m💡💡', 5), 'm💡💡');
});

test('numbers are grouped in thousands, and things are one or many', () => {
  written(count, [[0, '0'], [999, '999'], [1000, '1,000'], [1234567, '1,234,567'],
    [undefined, '0']]);
  assert.equal(counted(1, 'thing'), '1 thing');
  assert.equal(counted(0, 'thing'), '0 things');
  assert.equal(counted(18000, 'thing'), '18,000 things');
});

test('a duration has the units that matter at its length', () => {
  written(duration, [[0, '0 s'], [59.999, '59 s'], [60, '1 min'], [3599.9, '59 min'],
    [3600, '1 h 0 min'], [36000 - 1, '9 h 59 min'], [36000, '10 h'], [48 * 3600 - 1, '47 h'],
    [48 * 3600, '2 d 0 h'], [86400 * 10 - 1, '9 d 23 h'], [86400 * 10, '10 d'],
    [86400 * 400, '400 d']]);
});

test('a duration that clocks at odds make negative is none; one that is not known is a dash',
  () => {
  written(duration, [[-3, '0 s'], [NaN, '–'], [undefined, '–'], [null, '–'], [Infinity, '–']]);
});

test('a round trip has two digits at least, and no more than it needs', () => {
  written(roundTrip, [[0, '0.0 ms'], [0.00004, '0.0 ms'], [0.0003, '0.3 ms'], [0.0094, '9.4 ms'],
    [0.00994, '9.9 ms'],
    [0.00996, '10 ms'], [0.01, '10 ms'], [0.0123, '12 ms'], [1.5, '1500 ms'], [9.9994, '9999 ms'],
    [9.9996, '10.0 s'], [10, '10.0 s'], [12.34, '12.3 s'],
    [NaN, '–'], [undefined, '–']]);
});

test('octets are counted in units of a thousand, rounded before the unit is chosen', () => {
  written(octets, [[0, '0 B'], [999, '999 B'], [1000, '1.0 kB'], [9949, '9.9 kB'], [9950, '10 kB'],
    [999499, '999 kB'], [999500, '1.0 MB'], [1234567890, '1.2 GB'], [5e12, '5.0 TB'],
    [5e15, '5000 TB'], [undefined, '–'], [NaN, '–']]);
});

test('a time of day has two digits each, midnight is 00, and what is not known is a dash', () => {
  const midnight = new Date(2024, 1, 29, 0, 0, 7).getTime() / 1000;
  assert.equal(timeOfDay(midnight), '00:00:07');
  assert.equal(hourAndMinute(midnight + 0.999), '00:00');
  assert.equal(timeOfDay(midnight - 8), '23:59:59');
  assert.equal(dateAndTime(midnight), '29 Feb 2024, 00:00:07');
  written(timeOfDay, [[NaN, '–'], [undefined, '–'], [null, '–']]);
});

test('what is no time of day, or none that there is, has no words', () => {
  for (const seconds of [NaN, undefined, null, Infinity, 1e20, -1e20]) {
    assert.equal(timeOfDay(seconds), '–', String(seconds));
    assert.equal(dateAndTime(seconds), '–', String(seconds));
  }
  assert.match(timeOfDay(8.64e12), /^[0-9:]{8}$/);
});
