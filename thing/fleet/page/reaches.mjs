// Reaches, each a service of a thing that somebody uses from elsewhere, in words. The list of those
// that are open is in reachlist.mjs; that they begin and end is told in happenings.mjs.

import {dateAndTime, duration, octets, visible} from './text.mjs';

// Why they end, by the name of the stop code.
const REASONS = new Map([
  ['DONE', 'closed'],
  ['CANCELLED', 'given up'],
  ['NOT_PERMITTED', 'not permitted any more'],
  ['TIMED_OUT', 'nothing moved any more'],
  ['FAILED', 'something failed'],
  ['WENT_AWAY', 'the thing went away'],
  ['ENDED', 'somebody ended it'],
]);

// A service's own code is a number.
const why = (reason) => REASONS.get(reason) ?? `code ${visible(reason)}`;

export const whose = ({by, from}) => `by ${visible(by)} from ${visible(from)}`;

// Up is to the thing.
const moved = ({octetsUp, octetsDown}) =>
  `${octets(octetsUp)} to it, ${octets(octetsDown)} from it`;

// now: the server's time of day, seconds.
export const soFar = (reach, now) =>
  `since ${dateAndTime(reach.since)} (${duration(now - reach.since)}), ${moved(reach)}`;

export const begun = (event) => `${visible(event.service)} ${whose(event)}`;

export const over = (event) =>
  `${begun(event)}, after ${duration(event.duration)}, ${moved(event)}: ${why(event.reason)}`;
