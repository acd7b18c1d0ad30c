// What comes first: of ids, of what is known about a thing, and of the rows of the table in each
// of its columns. How the columns look is in table.mjs.

// What sorts as an id should: before each number is how many digits it has, as in order.py.
const placeOf = (id) => Array.from(`${id.replace(/0*([0-9]+)/g,
  (_, digits) => `${digits.length}`.padStart(3, '0') + digits)}\0${id}`);

// As the server sorts, and so are nodes and addresses: lamp-2 before lamp-10, else by code points, where JavaScript compares
// halves of them.
export function compareIds(one, other) {
  const left = placeOf(one), right = placeOf(other);
  const at = left.findIndex((character, index) => character !== right[index]);
  if (at < 0) return left.length - right.length;
  return at >= right.length ? 1 : left[at].codePointAt(0) - right[at].codePointAt(0);
}

// Of two records or events of one thing, whether the one tells at least as much as the other.
export const notOlder = (one, other) => one.epoch > other.epoch ||
  (one.epoch === other.epoch && one.sequence >= other.sequence);

// Whether an event says that a thing has a new session.
export const isArrival = (event) => event.kind === 'joined' || event.kind === 'moved';

const total = (record, what) => record.traffic
  ? record.traffic[`${what}In`] + record.traffic[`${what}Out`] : -1;

// Key, heading, what it means, and by what of a record it is sorted; the id decides between equals.
export const COLUMNS = [
  ['id', 'Thing', 'Its id', null],
  ['status', 'Status', 'Whether it is here',
    (one) => ['late', 'gone', 'present'].indexOf(one.status)],
  ['node', 'Node', 'Where it is connected', (one) => one.node],
  ['since', 'Since', 'How long its session is up', (one) => -one.since],
  ['beat', 'Last beat', 'How long ago its last heartbeat came, of its time to live',
    (one) => -one.lastSeen],
  ['trip', 'Round trip', 'As the thing measured it last, and the latest beats',
    (one) => one.traffic?.roundTripTime ?? -1],
  ['messages', 'Messages', 'In / out', (one) => total(one, 'messages')],
  ['octets', 'Octets', 'In / out', (one) => total(one, 'octets')],
  ['address', 'Address', 'Where it connected from', (one) => one.address],
];

// Compares two records as the column of this key has them.
export function comparison(key, down) {
  const value = COLUMNS.find(([column]) => column === key)[3];
  return (one, other) => {
    const left = value?.(one), right = value?.(other);
    const order = left === right ? compareIds(one.id, other.id)
      : typeof left === 'string' ? compareIds(left, right) : left - right;
    return down ? -order : order;
  };
}
