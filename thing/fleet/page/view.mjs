// What the user chose to see: search, filters, page and order; as a question to the server, and as
// the part of the page's address that keeps it. Which things are seen is in listing.mjs.

import {count, counted} from './text.mjs';

const STATUSES = ['present', 'late', 'gone'];
const FILTERS = ['q', 'status', 'node'];

export class View {
  q = '';
  status = '';
  node = '';
  limit = 50;
  trail = ['']; // Behind which id each page begins, from the first to the one that is shown.
  sort = 'id';
  down = false;

  get after() {
    return this.trail[this.trail.length - 1];
  }

  get filtered() {
    return Boolean(this.q || this.status || this.node);
  }

  // What the server is asked.
  question() {
    const wanted = new URLSearchParams({limit: this.limit});
    for (const key of FILTERS) if (this[key]) wanted.set(key, this[key]);
    if (this.after) wanted.set('after', this.after);
    return wanted;
  }

  // Which rows are shown, in words; shown: how many; last: whether no page follows; total: how many
  // there are without a search, null if that is not known.
  rangeOf(shown, last, total) {
    const page = this.trail.length;
    if (page === 1 && last) return counted(shown, 'thing');
    // A search may make pages that are not full.
    if (this.q || this.status || !shown) return `Page ${page}, ${counted(shown, 'thing')}`;
    const before = (page - 1) * this.limit, until = before + Math.min(shown, this.limit);
    const all = last ? until : total === null ? null : Math.max(total, until + 1);
    const range = `${count(before + 1)}–${count(until)}`;
    if (all === null) return `Page ${page}, ${range}`;
    const pages = count(Math.ceil(all / this.limit));
    return `Page ${page} of ${pages}, ${range} of ${counted(all, 'thing')}`;
  }

  // The end of the page's address; with the id of the thing whose details are open, or null.
  address(thing) {
    const shown = new URLSearchParams();
    for (const key of FILTERS) if (this[key]) shown.set(key, this[key]);
    if (thing !== null) shown.set('thing', thing);
    return `#${shown}`;
  }

  // Take the filters from the end of the page's address; return the thing's id, or null.
  read(address) {
    const wanted = new URLSearchParams(address.slice(1));
    this.q = wanted.get('q') ?? '';
    this.status = STATUSES.find((one) => one === wanted.get('status')) ?? '';
    this.node = wanted.get('node') ?? '';
    return wanted.get('thing');
  }

  // Whether the filters let a record pass, as they do at the server.
  matches(record) {
    const fits = this.status ? record.status === this.status : record.status !== 'gone';
    if (!fits || (this.node && record.node !== this.node)) return false;
    const text = [record.id, record.name, record.fingerprint, record.address].join('\n');
    return text.toLowerCase().includes(this.q.toLowerCase());
  }
}
