// The things of the page that is shown, as the server's answers and the events change them: what
// is newer stays, whichever came first. Times are milliseconds of a clock that never goes back.

import {compareIds, isArrival, notOlder} from './order.mjs';

const LINGER = 10000; // A thing that left is shown so long, with the reason.

// One thing in the listing.
class Entry {
  leaves = 0; // When it will be taken off; 0 while it stays.
  touched = 0; // When an event changed it.

  // isNew: whether it came while the page was open.
  constructor(record, isNew = false) {
    this.isNew = isNew;
    this.take(record);
  }

  take(record) {
    this.record = record;
    this.cause = record.status === 'gone' ? record.endings[0]?.cause : undefined;
    if (record.status !== 'gone') this.leaves = 0;
  }

  // lingers: whether it stays for a while if it left.
  hear(event, now, lingers) {
    this.touched = now;
    if (isArrival(event)) {
      this.take(recordOf(event));
      return;
    }
    const {kind, epoch, sequence} = event;
    const changes = {late: {status: 'late'}, renewed: {status: 'present', lastSeen: event.at},
      left: {status: 'gone'}}[kind];
    this.record = {...this.record, epoch, sequence, ...changes};
    if (!changes) return;
    if (kind === 'left') this.cause = event.cause;
    this.leaves = kind === 'left' && lingers ? now + LINGER : 0;
  }
}

export class Listing {
  entries = new Map(); // By id.
  node = ''; // That answers.
  following = null; // Behind which id the next page begins; null if this is the last.
  loaded = false; // Whether the server answered since another view was chosen.

  // noted is told each record that is listed.
  constructor(view, noted) {
    this.view = view;
    this.noted = noted;
  }

  get(id) {
    return this.entries.get(id);
  }

  // Another view was chosen: what is listed stays until the server answers.
  begin() {
    this.loaded = false;
  }

  // An answer of the server to what it was asked at this time.
  takePage(answer, asked, now) {
    const same = this.loaded;
    this.node = answer.node;
    this.following = answer.following;
    this.loaded = true;
    const found = new Set();
    for (const record of answer.things) {
      found.add(record.id);
      const entry = this.get(record.id);
      if (!entry) this.#add(new Entry(record));
      else if (notOlder(record, entry.record)) {
        entry.take(record);
        this.noted(record);
      }
    }
    for (const [id, entry] of this.entries) {
      const stays = entry.leaves > now || (entry.touched > asked && this.#inPage(id));
      if (!found.has(id) && !(same && stays)) this.entries.delete(id);
    }
    this.#trim();
  }

  // Events were lost, perhaps with all that the server knew: whatever it says now is not older.
  forgetOrder() {
    for (const {record} of this.entries.values()) Object.assign(record, {epoch: 0, sequence: 0});
  }

  // Something happened to a thing; isNew: while the page was open.
  hear(event, now, isNew) {
    const entry = this.get(event.id);
    if (entry) {
      if (!notOlder(event, entry.record)) return;
      entry.hear(event, now, this.view.status !== 'gone');
      if (isArrival(event)) this.noted(entry.record);
    } else if (isArrival(event) && isNew) { // Who came before is in the answer, or gone again.
      const added = new Entry(recordOf(event), true);
      if (!this.#inPage(event.id) || !this.view.matches(added.record)) return;
      added.touched = now;
      this.#add(added);
      this.#trim();
    }
  }

  // Take those off that left long enough ago.
  dropOverdue(now) {
    for (const [id, {leaves}] of this.entries) if (leaves && leaves < now) this.entries.delete(id);
  }

  #add(entry) {
    this.entries.set(entry.record.id, entry);
    this.noted(entry.record);
  }

  #inPage(id) {
    return this.loaded && compareIds(id, this.view.after) > 0 &&
      (this.following === null || compareIds(id, this.following) <= 0);
  }

  // A page has no more rows than the user chose, and as many again that have just left.
  #trim() {
    const {limit} = this.view;
    const all = [...this.entries.values()].sort((one, other) =>
      compareIds(one.record.id, other.record.id));
    const staying = all.filter((entry) => !entry.leaves);
    const leaving = all.filter((entry) => entry.leaves);
    if (staying.length > limit) this.following = staying[limit - 1].record.id;
    for (const entry of [...staying.slice(limit), ...leaving.slice(limit)]) {
      this.entries.delete(entry.record.id);
    }
  }
}

function recordOf(event) {
  const {id, name, fingerprint, node, session, epoch, sequence, address, resumed, ttl} = event;
  return {id, name, fingerprint, node, session, epoch, sequence, address, resumed,
    status: 'present', since: event.at, lastSeen: event.at, ttl, traffic: null, endings: []};
}
