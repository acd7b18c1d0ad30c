// Whether the server is there, what time it has, and how long the page waits for it.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {Link, Problem, ServerClock, pauseOfPoll, pauseOfStream}
  from '../../../thing/fleet/page/link.mjs';

import {record, traffic} from './made.mjs';

const SILENT = new Problem(0, 'The server does not answer', 'Failed to fetch');

function linkAfter(...steps) {
  const link = new Link();
  for (const step of steps) step(link);
  return link;
}

const reached = (now = 5000) => (link) => link.reached(now);
const failed = (error, what) => (link) => link.failed(error, what);
const opened = (link) => link.opened();

test('the state is the worst that is known', () => {
  const stateOf = (...steps) => linkAfter(...steps).state()[0];
  assert.equal(stateOf(), 'connecting');
  assert.equal(stateOf(reached()), 'polling');
  assert.equal(stateOf(reached(), opened), 'live');
  assert.equal(stateOf(reached(), opened, failed(SILENT)), 'offline');
  assert.equal(stateOf(reached(), opened, failed(SILENT), reached()), 'live');
  assert.equal(stateOf(reached(), opened, failed(new Problem(503, 'busy'))), 'live');
  assert.equal(stateOf(failed(SILENT), (link) => { link.gated = true; }), 'token');
});

test('an answer says whether it ends a time without answers', () => {
  const link = linkAfter(failed(SILENT));
  assert.equal(link.reached(5000), true);
  assert.equal(link.reached(5000), false);
  link.failed(new Problem(503, 'busy'));
  assert.equal(link.reached(5000), false);
});

test('an answer that makes no sense is none', (context) => {
  const logged = context.mock.method(console, 'error', () => {});
  const link = linkAfter(reached(), opened, failed(new TypeError('answer.things is undefined')));
  assert.equal(link.state()[0], 'offline');
  assert.match(link.words(6000), /^The server answers what makes no sense\. The server was heard/);
  assert.equal(logged.mock.callCount(), 1);
});

test('each change is told', () => {
  let changes = 0;
  const link = new Link();
  link.changed = () => { changes += 1; };
  link.reached(5000);
  link.failed(SILENT);
  assert.equal(changes, 2);
});

test('that a token is missing is no trouble: the user is asked for it', () => {
  const link = linkAfter(reached(), failed(new Problem(401, 'A token is needed')));
  assert.equal(link.trouble, null);
  assert.equal(link.words(6000), '');
});

test('what is wrong is said, and when the page tries again', () => {
  const words = (now, nextTry, ...steps) => {
    const link = linkAfter(...steps);
    link.nextTry = nextTry;
    return link.words(now);
  };
  assert.equal(words(0, 0), '');
  assert.equal(words(0, 0, reached(), opened), '');
  assert.equal(words(1000, 3500, failed(SILENT)), 'The server does not answer. Next try in 3 s.');
  assert.equal(words(4000, 3500, failed(SILENT)), 'The server does not answer. Trying again.');
  assert.match(words(4000, 0, reached(), failed(new Problem(0, 'A proxy answers 502'))),
    new RegExp('^A proxy answers 502\\. The server was heard last at \\d\\d:\\d\\d:05, and what ' +
      'you see is of then\\. Trying again\\.$'));
  assert.equal(words(0, 0, reached(), failed(new Problem(503, 'busy', 'too many'))),
    'The server has trouble: busy (too many)');
});

test('that events do not come is said once the server answers other questions', () => {
  const silent = failed(SILENT, 'noStream');
  assert.equal(linkAfter(silent).words(0), '');
  assert.equal(linkAfter(silent, reached()).words(0), 'Events do not come: The server does not ' +
    'answer (Failed to fetch). The table is asked for anew all the time.');
  assert.equal(linkAfter(silent, reached(), opened).words(0), '');
});

test('the pause between questions doubles with each failure, up to fifteen seconds', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 2000].map((failures) => pauseOfPoll(failures)),
    [2000, 4000, 8000, 15000, 15000, 15000]);
});

test('what takes the server long is asked for less often', () => {
  assert.deepEqual([0, 500, 1000, 20000].map((took) => pauseOfPoll(0, took)),
    [2000, 2000, 3000, 15000]);
});

test('the pause of the stream doubles, too, and half of it is chance', () => {
  assert.deepEqual([0, 1, 4, 5, 2000].map((failures) => pauseOfStream(failures, 0)),
    [250, 500, 4000, 7500, 7500]);
  assert.equal(pauseOfStream(0, 1), 500);
  assert.equal(pauseOfStream(2000, 1), 15000);
});

const answerOf = (...things) => ({node: 'north', things});

test("the server's time is that of its latest word about a thing of its own", () => {
  const clock = new ServerClock(new Link());
  const own = record({lastSeen: 1000, traffic: traffic({silence: 2.5})});
  const other = record({node: 'south', lastSeen: 7, traffic: traffic()});
  clock.set(answerOf(other, own), 999, 5000000);
  assert.equal(clock.read(5000000), 1002.5);
  assert.equal(clock.read(5001000), 1003.5);
});

test("when something began here is known in the server's time, whatever this clock shows", () => {
  const link = linkAfter(reached(5000000), failed(SILENT));
  const clock = new ServerClock(link);
  clock.set(answerOf(), 4000, 5000000);
  assert.equal(clock.when(4990000), 3990);
});

test("without such a thing it is the answer's date; without that it stays as it was", () => {
  const clock = new ServerClock(new Link());
  assert.equal(clock.read(5000000), 5000);
  clock.set(answerOf(record({traffic: null})), 4000, 5000000);
  assert.equal(clock.read(5000000), 4000);
  clock.set(answerOf(), NaN, 5000000);
  assert.equal(clock.read(5000000), 4000);
});

test('while the server does not answer its time stands still, as what is shown grows no older',
  () => {
  const link = linkAfter(reached(5000000), failed(SILENT));
  const clock = new ServerClock(link);
  assert.equal(clock.read(5060000), 5000);
  link.reached(5060000);
  assert.equal(clock.read(5060000), 5060);
});
