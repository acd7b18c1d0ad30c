// What a node's figures were: as lines, in words and as the rows of a table. They are drawn in
// history.mjs.

import {count, dateAndTime, roundTrip, timeOfDay} from './text.mjs';

export const SPANS = {'1h': 3600, '24h': 86400, '7d': 604800}; // Seconds.

const perSecond = (key, seconds = 1) => (answer) =>
  answer[key].map((number, at) => number * seconds / (answer.seconds[at] || 1));

const rate = (number) =>
  number > 0 && number < 9.95 ? number.toFixed(1) : count(Math.round(number));

const words = (format, value) => value === null ? '–' : format(value);

// Of each chart its title, how a value is told, and its lines: their names and values.
export const CHARTS = [
  {title: 'Sessions', format: count, lines: [['', (answer) => answer.sessions]]},
  {title: 'Joins and ends a minute', format: rate,
    lines: [['joins', perSecond('joined', 60)], ['ends', perSecond('left', 60)]]},
  {title: 'Heartbeats a second', format: rate, lines: [['', perSecond('heartbeats')]]},
  {title: 'Messages a second', format: rate, lines: [['', perSecond('messages')]]},
  {title: 'Round trip', format: (seconds) => roundTrip(seconds),
    lines: [['p50', (answer) => answer.roundTripP50], ['p99', (answer) => answer.roundTripP99]]},
];

export const HEADINGS = ['Time', ...CHARTS.flatMap(({title, lines}) =>
  lines.map(([name]) => name ? `${title}: ${name}` : title))];

// When a point ended, as people read it.
export const momentOf = ({span, at}, point) =>
  span === '1h' ? timeOfDay(at[point]) : dateAndTime(at[point]);

// The latest first.
export function rowsOf(answer) {
  const columns = CHARTS.flatMap(({format, lines}) =>
    lines.map(([, values]) => values(answer).map((value) => words(format, value))));
  return answer.at.map((_, point) =>
    [momentOf(answer, point), ...columns.map((values) => values[point])]).reverse();
}

// What a chart has at one point: of each line its name and its value, in words.
export const valuesAt = ({format, lines}, answer, point) => lines.map(([name, values]) =>
  ({name, words: words(format, values(answer)[point] ?? null)}));

// How far back a chart goes, seconds: all of the span, but less for a node that is young.
export function reachOf({at, seconds, span}) {
  const known = at.length ? at[at.length - 1] - at[0] + seconds[0] : 0;
  return Math.min(SPANS[span], Math.max(SPANS[span] / 20, known));
}

// Where a point is in a chart of this width: the latest at its right edge.
export function placeOf(answer, point, width) {
  const {at} = answer;
  return width - (at[at.length - 1] - at[point]) / reachOf(answer) * width;
}

// The point that is nearest to a place.
export function pointAt(answer, place, width) {
  const distance = (point) => Math.abs(placeOf(answer, point, width) - place);
  return answer.at.reduce((best, _, point) => distance(point) < distance(best) ? point : best, 0);
}

// A chart in a picture of this size, pixels: the paths of its lines, the largest value, and all of
// it in words.
export function drawn({title, format, lines}, answer, width, height) {
  const found = lines.map(([name, values]) => ({name, values: values(answer)}));
  const known = found.flatMap(({values}) => values.filter((value) => value !== null));
  const most = Math.max(0, ...known);
  const y = (value) => (height - 1.5 - value / (most || 1) * (height - 4)).toFixed(1);
  const paths = found.map(({values}) => {
    let path = '', pen = 'M';
    values.forEach((value, point) => {
      const end = placeOf(answer, point, width);
      const begin = Math.max(0, end - answer.seconds[point] / reachOf(answer) * width);
      if (value !== null) path += `${pen}${begin.toFixed(1)} ${y(value)}H${end.toFixed(1)}`;
      pen = value === null ? 'M' : 'L';
    });
    return path;
  });
  const told = found.map(({name, values}) => inWords(name, values, format)).join('; ');
  return {paths, most: known.length ? format(most) : '', words: `${title}: ${told}`};
}

function inWords(name, values, format) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return `${name} nothing yet`.trim();
  const [least, most] = [Math.min(...known), Math.max(...known)].map(format);
  const now = words(format, values[values.length - 1]);
  return `${name} now ${now}, from ${least} to ${most}`.trim();
}
