// Reaches, each a service of a thing that somebody uses from elsewhere, in words. The list of those
// that are open is in reachlist.mjs; that they begin and end is told in happenings.mjs.

import {dateAndTime, duration, octets, visible} from './text.mjs';

// By whom and from where; who has no name is known by the key.
export const whose = ({by, key, from}) => `by ${visible(by || key)} from ${visible(from)}`;

// Up is to the thing.
const moved = ({octetsUp, octetsDown}) => `${octets(octetsUp)} to it, ${octets(octetsDown)} from it`;

// now: the server's time of day, seconds.
export const soFar = (reach, now) =>
  `since ${dateAndTime(reach.since)} (${duration(now - reach.since)}), ${moved(reach)}`;

export const begun = (event) => `${visible(event.service)} ${whose(event)}`;

export const over = (event) =>
  `${begun(event)}, after ${duration(event.duration)}, ${moved(event)}: ${visible(event.reason)}`;
