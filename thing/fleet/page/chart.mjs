// What is drawn: the line of a thing's heartbeats, and the chart of the ends by reason. What is in
// them is known to beats.mjs and ends.mjs.

import {CAUSES, cause} from './causes.mjs';
import {$, draw, make, setAttribute, setText} from './dom.mjs';
import {sparkline} from './beats.mjs';
import {barsOf, endsOf, inWords} from './ends.mjs';
import {beats, serverNow} from './state.mjs';
import {count, hourAndMinute} from './text.mjs';

const USUAL_TTL = 30; // Seconds, while a thing's own is not known.

export function paintSpark(svg, record, width, height) {
  const ttl = record.traffic?.ttl ?? record.ttl ?? USUAL_TTL;
  const {paths, words} = sparkline(beats.of(record.id), ttl, serverNow(), width, height);
  setAttribute(svg, 'viewBox', `0 0 ${width} ${height}`);
  if (!svg.firstChild) svg.append(...Object.keys(paths).map((name) => draw('path', {class: name})));
  Object.values(paths).forEach((path, at) => setAttribute(svg.children[at], 'd', path));
  setAttribute(svg, 'aria-label', words);
}

export function makePatterns() {
  for (const {style, stripes} of CAUSES.values()) {
    if (!stripes) continue;
    const attributes = {id: `p-${style}`, class: style, width: 5, height: 5,
      patternUnits: 'userSpaceOnUse'};
    $('patterns').append(draw('pattern', attributes, draw('rect', {width: 5, height: 5}),
      draw('path', {d: stripes})));
  }
}

const fill = ({style, stripes}) => stripes ? `url(#p-${style})` : 'currentColor';

let painted = ''; // What the chart shows.

export function paintEnds(nodes) {
  const ends = endsOf(nodes, serverNow());
  const {minutes, names, sums, total, most} = ends;
  if (JSON.stringify(ends) === painted) return;
  painted = JSON.stringify(ends);
  $('chart').replaceChildren(...minutes.map((minute) => bar(minute, ends)));
  $('legend').replaceChildren(...names.map((name) => make('li', {className: cause(name).style},
    draw('svg', {viewBox: '0 0 11 11', 'aria-hidden': 'true'},
      draw('rect', {width: 11, height: 11, rx: 2, fill: fill(cause(name))})),
    make('span', {textContent: `${cause(name).legend} ${count(sums[name])}`}))));
  $('minutes').tBodies[0].replaceChildren(...[...minutes].reverse().map(([at, causes]) =>
    make('tr', {}, make('td', {textContent: hourAndMinute(at)}),
      make('td', {textContent: inWords(causes, names)}))));
  setText($('ends-note'), `${names.length ? count(total) : 'none'} in the last hour`);
  setText($('pointed'), names.length ? `most in a minute: ${count(most)}` : '');
}

function bar(minute, ends) {
  const [at, causes] = minute;
  return draw('g', {}, ...barsOf(minute, ends).map(({name, ...place}) =>
    draw('rect', {class: cause(name).style, fill: fill(cause(name)), ...place})),
    draw('title', {}, `${hourAndMinute(at)}: ${inWords(causes, ends.names)}`));
}
