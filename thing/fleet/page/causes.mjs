// Why sessions end: the words, the colour and the pattern for each cause that the server names.
// What is counted of them is in ends.mjs.

import {visible} from './text.mjs';

export const CAUSES = new Map([
  ['GOODBYE', {word: 'left', legend: 'goodbye', style: 'goodbye'}],
  ['FLAT_LINED', {word: 'flat-lined', legend: 'flat line', style: 'flat_lined',
    stripes: 'M-1 3 3-1M2 6 6 2'}],
  ['TRUNCATED', {word: 'cut off', legend: 'truncated', style: 'truncated',
    stripes: 'M-1 2 3 6M2-1 6 3'}],
  ['ABORTED', {word: 'aborted', legend: 'aborted', style: 'aborted', stripes: 'M0 1h5M0 4h5'}],
  ['REJECTED', {word: 'rejected', legend: 'rejected', style: 'rejected', stripes: 'M1 0v5M4 0v5'}],
  ['PROTOCOL_ERROR', {word: 'broke a rule', legend: 'protocol error', style: 'protocol_error',
    stripes: 'M0 0 5 5M5 0 0 5'}],
  ['LAPSED', {word: 'lapsed', legend: 'lapsed', style: 'lapsed'}],
  ['REPLACED', {word: 'replaced', legend: 'replaced', style: 'other'}],
  ['NODE_LOST', {word: 'node lost', legend: 'node lost', style: 'other'}],
]);

const CLEAN = ['GOODBYE', 'REPLACED'];

export const cause = (name) => CAUSES.get(name) ??
  {word: visible(name).toLowerCase(), legend: visible(name).toLowerCase(), style: 'other'};

// Whether it is one that nobody wished for; no cause is none.
export const isBad = (name) => Boolean(name) && !CLEAN.includes(name);
