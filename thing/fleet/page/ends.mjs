// The ends of sessions in each of the last sixty minutes, summed over all nodes, and the bars that
// they make. The bars are drawn in chart.mjs.

import {CAUSES, cause} from './causes.mjs';
import {count} from './text.mjs';

const MINUTES = 60;
const STEP = 5; // The width of a minute in the chart.
const HEIGHT = 72; // Of the chart.

const sumOf = (causes) => Object.values(causes).reduce((sum, number) => sum + number, 0);

function addTo(sums, causes) {
  for (const [name, number] of Object.entries(causes)) sums[name] = (sums[name] ?? 0) + number;
}

// now: the server's time of day, seconds.
export function endsOf(nodes, now) {
  const first = (Math.floor(now / 60) - (MINUTES - 1)) * 60;
  const byMinute = new Map();
  const sums = {};
  for (const [at, causes] of nodes.flatMap((node) => node.minutes ?? [])) {
    if (at < first) continue;
    if (!byMinute.has(at)) byMinute.set(at, {});
    addTo(byMinute.get(at), causes);
    addTo(sums, causes);
  }
  const minutes = [...byMinute].sort(([one], [other]) => one - other);
  const names = [...CAUSES.keys(), ...Object.keys(sums)].filter((name, at, every) =>
    sums[name] && every.indexOf(name) === at);
  const most = Math.max(1, ...minutes.map(([, causes]) => sumOf(causes)));
  return {first, minutes, names, sums, total: sumOf(sums), most};
}

// The parts of the bar of one minute, from the bottom up.
export function barsOf([at, causes], {names, first, most}) {
  let y = HEIGHT;
  return names.filter((name) => causes[name]).map((name) => {
    const height = causes[name] / most * (HEIGHT - 2);
    y -= height;
    return {name, x: (at - first) / 60 * STEP + .5, y, width: STEP - 1, height};
  });
}

export const inWords = (causes, names) => names.filter((name) => causes[name])
  .map((name) => `${count(causes[name])} ${cause(name).legend}`).join(', ');
