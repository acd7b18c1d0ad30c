// The heartbeats that the page has seen of each thing, and the line that they make: paths and
// words. The line is drawn in chart.mjs.

import {isArrival, notOlder} from './order.mjs';
import {counted, roundTrip} from './text.mjs';

const MOST_HISTORIES = 600; // Of so many things the heartbeats are remembered.
const MOST_BEATS = 90; // So many of each.

const NO_SIGNS = ['late', 'reached', 'reachEnded']; // What does not tell that a thing is alive.

export class Beats {
  #histories = new Map(); // By id; the one used longest ago is first.

  // What is remembered of a thing.
  of(id) {
    const history = this.#histories.get(id) ??
      {epoch: 0, sequence: 0, session: '', heartbeats: -1, beats: [], missed: [], end: 0};
    this.#histories.delete(id);
    this.#histories.set(id, history);
    if (this.#histories.size > MOST_HISTORIES) {
      this.#histories.delete(this.#histories.keys().next().value);
    }
    return history;
  }

  // What the server knows of a thing; of no use if something newer was told.
  note(record) {
    const history = this.of(record.id);
    if (!notOlder(record, history)) return;
    const {epoch, sequence, traffic, session, lastSeen} = record;
    Object.assign(history, {epoch, sequence});
    if (session !== history.session) {
      history.beats.push({at: record.since, trip: null}); // The line begins anew.
      Object.assign(history, {session, heartbeats: -1, end: 0});
    }
    if (record.status === 'gone') history.end = lastSeen;
    if (traffic && traffic.heartbeats !== history.heartbeats) {
      history.heartbeats = traffic.heartbeats;
      history.beats.push({at: lastSeen, trip: traffic.roundTripTime});
    }
    const open = history.missed.find((one) => !one.to);
    if (record.status === 'late' && !open) history.missed.push({from: lastSeen, to: 0});
    if (record.status === 'present' && open) open.to = lastSeen;
    history.beats.splice(0, history.beats.length - MOST_BEATS);
    history.missed.splice(0, history.missed.length - MOST_BEATS);
  }

  // Whatever is told now is not older than what was.
  forgetOrder() {
    for (const history of this.#histories.values()) Object.assign(history, {epoch: 0, sequence: 0});
  }

  // Something happened to a thing; of use after a record of it was noted, and if it is newer.
  hear(event) {
    if (!this.#histories.get(event.id)?.session) return;
    const history = this.of(event.id);
    if (!notOlder(event, history)) return;
    Object.assign(history, {epoch: event.epoch, sequence: event.sequence});
    const open = history.missed.find((one) => !one.to);
    if (event.kind === 'late' && !open) {
      history.missed.push({from: event.at - (event.silence ?? 0), to: 0});
    } else if (open && !NO_SIGNS.includes(event.kind)) open.to = event.at;
    if (event.kind === 'left') history.end = event.at;
    else if (isArrival(event)) history.end = 0;
  }
}

// The line of one thing over its last eight times to live, in a picture of this size, pixels.
export function sparkline({beats, missed, end}, ttl, now, width, height) {
  const span = Math.min(1800, Math.max(30, 8 * ttl));
  const x = (at) => Math.max(0, width - (now - at) / span * width).toFixed(1);
  const seen = beats.filter((one) => now - one.at < span);
  const measured = seen.filter((one) => one.trip !== null);
  const trips = measured.map((one) => one.trip);
  const top = Math.max(...trips, 1e-6) * 1.2;
  const y = (value) => (height - 5 - value / top * (height - 6)).toFixed(1);
  let line = '', pen = 'M';
  for (const one of seen) {
    if (one.trip !== null) line += `${pen}${x(one.at)} ${y(one.trip)}`;
    pen = one.trip === null ? 'M' : 'L';
  }
  const bands = missed.filter((one) => now - (one.to || now) < span).map((one) =>
    `M${x(one.from)} 0H${x(one.to || end || now)}V${height}H${x(one.from)}Z`);
  const last = measured[measured.length - 1];
  const paths = {
    missed: bands.join(''),
    beats: measured.map((one) => `M${x(one.at)} ${height}v-3`).join(''),
    line,
    dot: last && !end ? circle(x(last.at), y(last.trip)) : '',
    flat: end ? `M${x(end)} ${height / 2}H${width}` : '',
  };
  return {paths, words: inWords(trips)};
}

const circle = (x, y) => `M${x} ${y}m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0`;

function inWords(trips) {
  if (!trips.length) return 'no beats seen yet';
  const [fastest, slowest] = [Math.min(...trips), Math.max(...trips)].map(roundTrip);
  return `${counted(trips.length, 'beat')}, round trip ${fastest} to ${slowest}`;
}
