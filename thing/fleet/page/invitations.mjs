// Invitations: what the server is asked for one, how each is told in words, and how a QR code is
// drawn. The dialog is in inviting.mjs.

import {duration, visible} from './text.mjs';

// What to ask for, by what was typed; servers stand apart by spaces, commas or lines.
export const wishOf = ({name, servers, lifetime, confirm, replace}) => ({name: name.trim(),
  servers: servers.split(/[\s,]+/).filter(Boolean), lifetime: Number(lifetime), confirm, replace});

// Symbol and words by state.
const STATES = new Map([
  ['open', ['gone', ({expires, confirm}, now) =>
    `open for ${duration(expires - now)}${confirm ? ', with your yes' : ''}`]],
  ['waiting', ['late', () => 'a key waits for your yes']],
  ['claimed', ['late', () => 'a key is about to join']],
  ['used', ['present', () => 'has joined']],
]);

// now: the server's time of day, seconds.
export function told(invitation, now) {
  const {state, expires} = invitation;
  if (state === 'open' && expires <= now) return {symbol: 'bad', words: 'ran out'};
  const [symbol, words] = STATES.get(state) ?? ['gone', () => visible(state)];
  return {symbol, words: words(invitation, now)};
}

export const isWaiting = ({state}) => state === 'waiting';

// Whether it may come to something without the user.
export const isPending = ({state}) => state === 'open' || state === 'claimed';

// Whether its secret is of use to somebody.
export const isOpen = ({state, expires}, now) => state === 'open' && expires > now;

// Those that wait for the user first, then those that end soonest.
export const inOrder = (invitations) => [...invitations].sort((one, other) =>
  isWaiting(other) - isWaiting(one) || one.expires - other.expires);

// The dark modules of a QR code as one path; rows: a digit for each module, 1 is dark.
export const pathOfCode = (rows) => rows.flatMap((row, y) => [...row.matchAll(/1+/g)].map(
  ({index, 0: {length}}) => `M${index} ${y}h${length}v1h-${length}z`)).join('');
