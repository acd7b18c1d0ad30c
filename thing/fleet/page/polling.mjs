// Asks again and again, while the page is seen; slower while there is no answer. What is asked is
// given by those who show it.

import {POLL, pauseOfPoll} from './link.mjs';

class Poller {
  #failures = 0;
  #timer = 0;
  #control = null;

  constructor(pollers, work, usual) {
    Object.assign(this, {pollers, work, usual});
  }

  restart() {
    this.stop();
    if (this.pollers.isSeen()) this.#run();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#control?.abort();
    this.#control = null;
  }

  async #run() {
    const control = this.#control = new AbortController();
    const asked = performance.now();
    try {
      const nothing = await this.work(control.signal) === false;
      if (nothing || control !== this.#control) return;
      this.#failures = 0;
      this.pollers.reached();
    } catch (error) {
      if (control !== this.#control) return;
      this.#failures += 1;
      this.pollers.failed(error);
    }
    const pause = pauseOfPoll(this.#failures, performance.now() - asked, this.usual());
    this.#timer = setTimeout(() => this.#run(), pause);
  }
}

// All of them. isSeen tells whether the page is; reached and failed are told how each try went.
export class Pollers {
  #all = [];

  constructor({isSeen, reached, failed}) {
    Object.assign(this, {isSeen, reached, failed});
  }

  // work asks once, given a signal that ends it; it returns false if there was nothing to ask.
  // usual tells how long to wait until the next time, milliseconds.
  add(work, usual = () => POLL) {
    const poller = new Poller(this, work, usual);
    this.#all.push(poller);
    return poller;
  }

  restart() {
    for (const poller of this.#all) poller.restart();
  }

  stop() {
    for (const poller of this.#all) poller.stop();
  }
}
