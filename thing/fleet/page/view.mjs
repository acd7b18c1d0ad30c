// What the user chose to see: search, filters, page and order; as a question to the server, and as
// the part of the page's address that keeps it. Which things are seen is in listing.mjs.

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
