// Whether the server is there, in words, what time it has, and how long to wait before it is asked
// again. Who asks is in api.mjs, polling.mjs and following.mjs.

import {timeOfDay} from './text.mjs';

export const POLL = 2000; // Milliseconds between two questions about what is visible.
const LEISURE = 3; // So many times what a question took passes until the next one.
const SLOWEST = 15000; // Between two tries, at most, while the server does not answer.

// took: how long the latest question did; what is much work shall not be all work. usual: how long
// to wait if nothing is wrong.
export const pauseOfPoll = (failures, took = 0, usual = POLL) =>
  Math.min(SLOWEST, Math.max(usual * 2 ** failures, LEISURE * took));

// Chance, from 0 to 1, spreads the pages that come back after a restart.
export function pauseOfStream(failures, chance) {
  const longest = Math.min(SLOWEST, 500 * 2 ** failures);
  return longest / 2 + chance * longest / 2;
}

// What went wrong with a question; status is of HTTP, or 0 if there was no answer; unknown is the id
// of the thing of which the server knows nothing.
export class Problem extends Error {
  constructor(status, title, detail = '', unknown = undefined) {
    super(title);
    this.status = status;
    this.detail = detail;
    this.unknown = unknown;
  }
}

// Times are milliseconds since 1970 on this machine's clock.
export class Link {
  stream = false; // Whether events come.
  noStream = null; // Why they do not.
  trouble = null; // Why the latest question was not answered.
  lastAnswer = 0;
  nextTry = 0; // Of the stream.
  gated = false; // Whether the user is asked for a token.
  changed = () => {}; // Told of each change.

  // A question was answered; return whether that ends a time without answers.
  reached(now) {
    const back = this.trouble?.status === 0;
    this.trouble = null;
    this.lastAnswer = now;
    this.changed();
    return back;
  }

  // A question was not answered; what: 'trouble', or 'noStream' if it was for the events.
  failed(error, what = 'trouble') {
    if (!(error instanceof Problem)) {
      console.error(error);
      error = new Problem(0, 'The server answers what makes no sense');
    }
    this[what] = error.status === 401 ? null : error;
    this.changed();
  }

  opened() {
    Object.assign(this, {stream: true, noStream: null});
  }

  // In one word, and as people read it, with a symbol.
  state() {
    if (this.gated) return ['token', 'Token needed', 'gone'];
    if (this.trouble?.status === 0) return ['offline', 'Offline', 'bad'];
    if (this.stream) return ['live', 'Live', 'present'];
    if (this.lastAnswer) return ['polling', 'No events', 'late'];
    return ['connecting', 'Connecting', 'gone'];
  }

  // What is wrong; empty if nothing is.
  words(now) {
    const rest = Math.ceil((this.nextTry - now) / 1000);
    const soon = rest > 0 ? `Next try in ${rest} s.` : 'Trying again.';
    if (this.trouble?.status) return `The server has trouble: ${saying(this.trouble)}`;
    if (this.trouble && this.lastAnswer) {
      const then = timeOfDay(this.lastAnswer / 1000);
      return `${this.trouble.message}. The server was heard last at ${then}, and what you see is ` +
        `of then. ${soon}`;
    }
    if (this.trouble) return `${this.trouble.message}. ${soon}`;
    if (this.stream || !this.noStream || !this.lastAnswer) return '';
    return `Events do not come: ${saying(this.noStream)}. ` +
      'The table is asked for anew all the time.';
  }
}

const saying = ({message, detail}) => detail ? `${message} (${detail})` : message;

// The server's time of day, seconds: this machine's clock may be wrong. It stands still while there
// is no answer, as what is shown grows no older.
export class ServerClock {
  #skew = 0;

  constructor(link) {
    this.link = link;
  }

  // Read an answer with things; date: when the server says that it answered.
  set(answer, date, now) {
    const own = answer.things.find(({node, traffic}) =>
      node === answer.node && traffic?.silence != null);
    const told = own ? own.lastSeen + own.traffic.silence : date;
    if (Number.isFinite(told)) this.#skew = told - now / 1000;
  }

  read(now) {
    return this.when(this.link.trouble?.status === 0 ? this.link.lastAnswer : now);
  }

  // What it was, or will be, when this machine's clock shows this.
  when(shown) {
    return shown / 1000 + this.#skew;
  }
}
