// What happened lately, and how each event is told in words. The list of them on the page is in
// feed.mjs; what events change is in listing.mjs and beats.mjs.

import {cause, isBad} from './causes.mjs';
import {begun, over} from './reaches.mjs';
import {duration, roundTrip, shortened, visible} from './text.mjs';

const KEPT_EVENTS = 300;
const LONGEST_TEXT = 300; // What is shown of a message, characters.
const ANNOUNCE = 15000; // Between two announcements of what goes on, milliseconds.

export class Happenings {
  events = []; // The latest first.
  fresh = 0; // How many came since they were taken last.
  held = false; // Whether the user reads, so that nothing may move.
  #ends = 0;
  #announced = 0;

  // isNew: whether it happened while the page was open.
  keep(event, isNew) {
    for (const key of ['text', 'base64']) {
      const text = event[key];
      if (text?.length > LONGEST_TEXT) event = {...event, [key]: shortened(text, LONGEST_TEXT)};
    }
    this.events.unshift(event);
    this.events.length = Math.min(this.events.length, KEPT_EVENTS);
    this.fresh += 1;
    if (event.kind === 'left' && isBad(event.cause) && isNew) this.#ends += 1;
  }

  // Those of these kinds that were not taken yet, or all of them; the latest first.
  take(kinds, all, most) {
    const taken = this.events.slice(0, all ? KEPT_EVENTS : this.fresh);
    this.fresh = 0;
    return taken.filter((event) => !kinds.length || kinds.includes(event.kind)).slice(0, most);
  }

  // How many ended without goodbye since that was announced last; 0 if it is too soon to say.
  takeEnds(now) {
    if (!this.#ends || now - this.#announced < ANNOUNCE) return 0;
    const ends = this.#ends;
    this.#ends = 0;
    this.#announced = now;
    return ends;
  }
}

// Tone, symbol, verb and words by kind.
const KINDS = {
  joined: ['good', 'joined', 'joined', (event) =>
    `from ${visible(event.address)} at ${visible(event.node)}${event.resumed ? ', resumed' : ''}`],
  moved: ['good', 'moved', 'moved', (event) => event.fromNode === event.node
    ? `to a new session at ${visible(event.node)}`
    : `from ${visible(event.fromNode)} to ${visible(event.node)}`],
  late: ['late', 'late', 'late', (event) =>
    `missed a heartbeat; silent for ${Number(event.silence ?? 0).toFixed(1)} s`],
  renewed: ['good', 'renewed', 'beats again', (event) =>
    `round trip ${roundTrip(event.roundTripTime ?? NaN)}`],
  message: ['', 'message', 'says', (event) => messageText(event)],
  lastWord: ['late', 'message', 'last word', (event) => messageText(event)],
  left: ['', 'left', 'left', (event) => visible(event.detail)],
  twins: ['bad', 'twins', 'twins', (event) =>
    `two with the same key keep replacing each other; others wait ${duration(event.wait)}`],
  reached: ['', 'reach', 'is reached', (event) => begun(event)],
  reachEnded: ['', 'reach', 'reach ended', (event) => over(event)],
  reset: ['late', 'late', 'events were lost', () => 'The table was asked for anew.'],
};

export function described(event) {
  const [tone, symbol, verb, words] = KINDS[event.kind] ??
    ['', 'message', visible(event.kind), () => ''];
  if (event.kind !== 'left') return {tone, symbol, verb, words: words(event)};
  const how = isBad(event.cause) ? {tone: 'bad', symbol: 'bad'} : {tone, symbol};
  return {...how, verb: cause(event.cause).word, words: words(event)};
}

function messageText(event) {
  if (event.text === undefined) return `octets, base64: ${visible(event.base64)}`;
  return `“${visible(event.text.replace(/\s+/g, ' '))}”`;
}
