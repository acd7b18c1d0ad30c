// Follows the server's stream of events: reads it, notices its silence, and comes back after a
// pause to where it was. What an event means is not known here.

import {Problem, pauseOfStream} from './link.mjs';

const SILENCE = 40000; // The server writes every 15 s, whatever happens; milliseconds.
const RECENT = 300000; // What happened so long before the page came is told, too.
const LONGEST_LINE = 16 << 20; // A longer one, of a huge message, is left out; characters.

// Reads the format of server-sent events, fed in pieces.
export function messageReader(takeMessage, longest = LONGEST_LINE) {
  let rest = '', skipping = false, message = {event: 'message', data: []};
  const takeLine = (line) => {
    if (!line) {
      if (message.data.length) takeMessage(message.event, message.data.join('\n'), message.id);
      message = {event: 'message', data: []};
      return;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === 'data') message.data.push(value);
    else if (field === 'event' || field === 'id') message[field] = value;
  };
  return (piece) => {
    const lines = (rest + piece).split(/\r?\n/);
    rest = lines.pop();
    if (skipping && lines.length) {
      lines.shift(); // The end of what is left out.
      skipping = false;
    }
    lines.forEach(takeLine);
    if (skipping || rest.length > longest) [rest, skipping] = ['', true];
  };
}

export class Follower {
  #stream = null; // What ends the stream that is open.
  #wake = () => {}; // Ends the pause before the next try.
  taken = () => {}; // Told the kind and the data of each event.
  opened = () => {}; // Told that the stream began;
  ended = () => {}; // and that it did not, or is over.

  // whenSeen returns a promise that waits until the page is seen.
  constructor(api, link, whenSeen) {
    Object.assign(this, {api, link, whenSeen});
    // Of the last event that came; before the first, of what happened in the last minutes.
    this.position = `${Date.now() - RECENT}-0`;
  }

  // Try again now, if this is a pause.
  wake() {
    this.#wake();
  }

  // End the stream; it comes back when the page is seen.
  stop() {
    this.#stream?.abort();
  }

  async run() {
    for (let failures = 0; ; failures += 1) {
      await this.whenSeen();
      try {
        await this.#read(() => { failures = 0; });
        this.link.noStream = new Problem(0, 'The server ended the stream');
      } catch (error) {
        this.link.failed(error, 'noStream');
      }
      this.link.stream = false;
      this.ended();
      const wait = pauseOfStream(failures, Math.random());
      this.link.nextTry = Date.now() + wait;
      this.link.changed();
      await this.#pause(wait);
    }
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => { clearTimeout(timer); resolve(); };
    });
  }

  async #read(answered) {
    const stream = this.#stream = new AbortController();
    const headers = {Accept: 'text/event-stream', 'Last-Event-ID': this.position};
    let watchdog = setTimeout(() => stream.abort(), SILENCE);
    try {
      const response = await this.api.request('GET', 'events',
        {signal: stream.signal, headers, patience: 0});
      this.link.opened();
      answered();
      this.opened();
      this.link.changed();
      const take = messageReader((kind, data, id) => this.#take(kind, data, id));
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      for (;;) {
        const {done, value} = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => stream.abort(), SILENCE);
        take(decoder.decode(value, {stream: true}));
      }
    } finally {
      clearTimeout(watchdog);
      stream.abort();
    }
  }

  #take(kind, data, id) {
    if (id) this.position = id;
    this.taken(kind, data);
  }
}
