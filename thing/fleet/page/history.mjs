// The charts of what the node's figures were, the same as a table, and the question that brings
// them. What is in them is made in past.mjs.

import {$, draw, make, on, setAttribute, setText} from './dom.mjs';
import {POLL} from './link.mjs';
import {CHARTS, HEADINGS, drawn, momentOf, placeOf, pointAt, reachOf, rowsOf, valuesAt}
  from './past.mjs';
import {api, local, pollers} from './state.mjs';
import {duration, visible} from './text.mjs';

const FOLDED = 'thing-history'; // Where the browser keeps whether the user has folded it.
const NARROW = '(max-width: 640px)'; // Where it begins folded.
const [WIDTH, HEIGHT] = [300, 52]; // Of a chart.

const charts = []; // The elements of each.
let answer = null; // The latest.
let chosen = null; // The point that is looked at; null for the latest.

const past = pollers.add(async (signal) => {
  if ($('past').hidden) return false;
  const found = await ask($('span').value, signal);
  if (signal.aborted) return true;
  $('history').hidden = found === null;
  if (found === null) return false;
  if (answer?.span !== found.span) chosen = null;
  else if (chosen !== null) chosen = nearest(answer.at[chosen], found.at);
  answer = found;
  paint();
  return true;
}, () => !answer?.at.length ? POLL : answer.span === '1h' ? 10000 : 60000);

const nearest = (time, times) => times.reduce((best, at, point) =>
  Math.abs(at - time) < Math.abs(times[best] - time) ? point : best, 0);

// Null if this server keeps no history.
async function ask(span, signal) {
  try {
    return (await api.request('GET', `history?span=${span}`, {signal})).answer;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

function makeChart({title, lines}) {
  const values = make('span', {className: 'values number'});
  const svg = draw('svg',
    {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img'},
    ...lines.map((_, at) => draw('path', {class: `line line-${at}`})),
    draw('path', {class: 'cursor'}));
  const since = make('span'), most = make('span', {className: 'number'});
  const element = make('figure', {},
    make('figcaption', {}, make('strong', {textContent: title}), values), svg,
    make('div', {className: 'scale muted'}, since, most));
  svg.addEventListener('pointermove', (event) => pointedAt(event, svg));
  svg.addEventListener('pointerleave', () => look(null));
  return {element, svg, values, since, most};
}

function pointedAt({clientX}, svg) {
  const {left, width} = svg.getBoundingClientRect();
  if (answer?.at.length) look(pointAt(answer, (clientX - left) / width * WIDTH, WIDTH));
}

function look(point) {
  chosen = point;
  if (answer) paintMoment();
}

function paint() {
  const {node, at, span} = answer;
  setText($('history-note'), `of node ${visible(node)}${at.length ? '' : ', nothing yet'}`);
  CHARTS.forEach((chart, index) => {
    const {svg, since, most} = charts[index];
    const found = drawn(chart, answer, WIDTH, HEIGHT);
    found.paths.forEach((path, line) => setAttribute(svg.children[line], 'd', path));
    setAttribute(svg, 'aria-label', `${found.words}, ${$('span').selectedOptions[0].text}`);
    setText(since, `${duration(reachOf(answer))} ago`);
    setText(most, found.most && `most ${found.most}`);
  });
  setAttribute($('moment'), 'max', String(Math.max(0, at.length - 1)));
  $('moment').disabled = at.length < 2;
  paintMoment();
  if (!$('points').hidden) paintTable();
}

// The values of the point that is looked at, and where it is.
function paintMoment() {
  const latest = answer.at.length - 1, point = chosen ?? latest;
  $('moment').value = String(point);
  const words = point < 0 ? '' : momentOf(answer, point);
  setAttribute($('moment'), 'aria-valuetext', words);
  setText($('moment-text'), chosen === null ? 'now' : words);
  CHARTS.forEach((chart, index) => {
    const {svg, values} = charts[index];
    values.replaceChildren(...valuesAt(chart, answer, point).map(({name, words: value}, line) =>
      make('span', {className: `value-${line}`}, make('b', {textContent: value}),
        name ? ` ${name}` : '')));
    const place = chosen === null ? '' : `M${placeOf(answer, point, WIDTH).toFixed(1)} 0V${HEIGHT}`;
    setAttribute(svg.lastElementChild, 'd', place);
  });
}

function paintTable() {
  $('points').querySelector('tbody').replaceChildren(...rowsOf(answer).map((row) =>
    make('tr', {}, ...row.map((textContent) => make('td', {textContent})))));
}

function fold(folded) {
  $('past').hidden = folded;
  for (const id of ['span-label', 'moment-label', 'as-table']) $(id).hidden = folded;
  setAttribute($('fold'), 'aria-expanded', String(!folded));
  setText($('fold'), folded ? 'Show' : 'Hide');
}

function showTable(shown) {
  $('points').hidden = !shown;
  $('charts').hidden = shown;
  $('moment-label').hidden = shown;
  setAttribute($('as-table'), 'aria-pressed', String(shown));
  if (shown && answer) paintTable();
}

export function makeHistory() {
  charts.push(...CHARTS.map(makeChart));
  $('charts').append(...charts.map(({element}) => element));
  $('points').querySelector('thead tr').append(...HEADINGS.map((textContent) =>
    make('th', {scope: 'col', textContent})));
  const kept = local.read(FOLDED);
  fold(kept === null ? matchMedia(NARROW).matches : kept === 'yes');
}

export function listenToHistory() {
  on('span', 'change', () => past.restart());
  on('as-table', 'click', () => showTable($('points').hidden));
  on('fold', 'click', () => {
    fold(!$('past').hidden);
    local.write(FOLDED, $('past').hidden ? 'yes' : 'no');
    past.restart();
  });
  on('moment', 'input', () => {
    const point = Number($('moment').value);
    look(point === answer.at.length - 1 ? null : point);
  });
}
