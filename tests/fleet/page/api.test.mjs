// How the server is asked, with a token and without, and what becomes of each of its answers.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {Api} from '../../../thing/fleet/page/api.mjs';
import {Problem} from '../../../thing/fleet/page/link.mjs';

const DATE = 'Thu, 01 Jan 1970 00:01:00 GMT';

// What a server gives, whose headers these are besides.
const response = (status, text, headers = {'Thing-Api': '1'}) =>
  new Response(text, {status, headers: {Date: DATE, ...headers}});

// An API whose server gives these answers, each a status, a text and perhaps headers, or an error;
// with what it was asked, and whether each token that it refused was wrong.
function apiWith(token, ...answers) {
  const asked = [], denied = [];
  const api = new Api(async (path, options) => {
    asked.push({path, ...options});
    const answer = answers.shift();
    if (answer[0] instanceof Error) throw answer[0];
    return response(...answer);
  }, token);
  api.denied = (refused) => denied.push(refused);
  return {api, asked, denied};
}

const problemOf = (asking) => asking.then(() => assert.fail('it was answered'), (error) => {
  assert.ok(error instanceof Problem, String(error));
  return [error.status, error.message, error.detail];
});

test('an answer comes with the time at which the server gave it', async () => {
  const {api, asked} = apiWith('', [200, '{"things": []}']);
  assert.deepEqual(await api.request('GET', 'things'), {answer: {things: []}, date: 60});
  const {path, method, redirect, cache, headers} = asked[0];
  assert.deepEqual([path, method, redirect, cache, headers],
    ['things', 'GET', 'error', 'no-store', {}]);
});

test('a stream is handed out unread', async () => {
  const {api} = apiWith('', [200, 'data: a\n\n']);
  const response = await api.request('GET', 'events', {patience: 0});
  assert.equal(await response.text(), 'data: a\n\n');
});

test('the token goes with each question, and never into the path', async () => {
  const {api, asked} = apiWith('horse', [200, '{}']);
  await api.request('GET', 'things', {headers: {Accept: 'x'}});
  assert.deepEqual(asked[0].headers, {Accept: 'x', Authorization: 'Bearer horse'});
  assert.equal(asked[0].path, 'things');
});

test('what the server says is wrong is told as it says it, or else by its status', async () => {
  const {api} = apiWith('', [404, '{"title": "No \\u202e", "detail": "gone"}'], [502, '<html>'],
    [500, 'null']);
  assert.deepEqual(await problemOf(api.request('GET', 'a')), [404, 'No ⟨U+202E⟩', 'gone']);
  assert.deepEqual(await problemOf(api.request('GET', 'a')), [502, 'The server answered 502', '']);
  assert.deepEqual(await problemOf(api.request('GET', 'a')), [500, 'The server answered 500', '']);
});

test('a search that found nothing yet goes on until it finds something, or nothing is left',
  async () => {
  const page = (things, following) => [200, JSON.stringify({things, following})];
  const {api, asked} = apiWith('', page([], 'door 9'), page([], 'k&l'), page([{id: 'z'}], 'z'),
    page([], 'm'), page([], null));
  const question = new URLSearchParams({limit: 50, q: 'z'});
  assert.deepEqual((await api.things(question)).answer.things, [{id: 'z'}]);
  assert.deepEqual(asked.map((one) => one.path), ['things?limit=50&q=z',
    'things?limit=50&q=z&after=door+9', 'things?limit=50&q=z&after=k%26l']);
  assert.deepEqual((await api.things(question)).answer, {things: [], following: null});
  assert.equal(String(question), 'limit=50&q=z');
});

test('that a thing is unknown is believed of the server alone, which names it', async () => {
  const ours = '{"title": "Nobody has heard of this thing.", "status": 404, "id": "hall/lamp"}';
  const {api, asked} = apiWith('', [404, ours], [404, ours], [404, '<html>Not Found</html>'],
    [404, '{"title": "There is no such path.", "status": 404}'], [502, ours], [200, '{}']);
  assert.equal(await api.thing('hall/lamp'), null);
  assert.equal((await problemOf(api.thing('lamp')))[0], 404);
  for (const status of [404, 404, 502]) {
    assert.equal((await problemOf(api.thing('hall/lamp')))[0], status);
  }
  assert.deepEqual(await api.thing('hall/lamp'), {});
  assert.deepEqual([asked[0].path, asked[0].method], ['thing?id=hall%2Flamp', 'GET']);
});

test('what a proxy says is not taken for the word of the server, be it good, bad, or a refusal',
  async () => {
  const ours = '{"title": "A token is needed.", "status": 401, "id": "lamp"}';
  for (const status of [200, 400, 401, 403, 404, 429, 500, 502, 503, 504]) {
    const {api, denied} = apiWith('', ...Array(3).fill([status, ours, {}]));
    const expected = [0, `A proxy answers ${status} in place of the server`, ''];
    assert.deepEqual(await problemOf(api.request('GET', 'things')), expected);
    assert.deepEqual(await problemOf(api.request('GET', 'events', {patience: 0})), expected);
    assert.deepEqual(await problemOf(api.thing('lamp')), expected);
    assert.deepEqual(denied, []);
  }
});

test('a network that fails, and an answer that is none, are a server that does not answer',
  async () => {
  const {api} = apiWith('', [new TypeError('Failed to fetch')], [200, '<html>']);
  assert.deepEqual(await problemOf(api.request('GET', 'a')),
    [0, 'The server does not answer', 'Failed to fetch']);
  const [status, title] = await problemOf(api.request('GET', 'a'));
  assert.deepEqual([status, title], [0, 'The server does not answer']);
});

test('a question that is given up ends, also if that was before it was asked', async () => {
  const never = new Api((path, {signal}) => new Promise((_, refuse) => {
    if (signal.aborted) refuse(new Error('given up'));
    signal.addEventListener('abort', () => refuse(new Error('given up')));
  }), '');
  const control = new AbortController();
  const asking = problemOf(never.request('GET', 'a', {signal: control.signal}));
  control.abort();
  assert.deepEqual(await asking, [0, 'The server does not answer', 'given up']);
  assert.equal((await problemOf(never.request('GET', 'a', {signal: control.signal})))[0], 0);
});

test('if a token is wanted the user is asked once, and all other questions wait for it',
  async () => {
  const {api, asked, denied} = apiWith('', [401, ''], [200, '1'], [200, '2']);
  assert.equal((await problemOf(api.request('GET', 'a')))[0], 401);
  assert.deepEqual(denied, [false]);
  const waiting = [api.request('GET', 'b'), api.request('GET', 'c')];
  await new Promise(setImmediate);
  assert.equal(asked.length, 1);
  api.give('horse');
  assert.deepEqual((await Promise.all(waiting)).map((one) => one.answer), [1, 2]);
  assert.deepEqual(asked.slice(1).map((one) => one.headers.Authorization),
    ['Bearer horse', 'Bearer horse']);
});

test('a wrong token is asked for again, and it is known that it was wrong', async () => {
  const {api, denied} = apiWith('', [401, ''], [401, ''], [200, '1']);
  await problemOf(api.request('GET', 'a'));
  api.give('wrong');
  await problemOf(api.request('GET', 'a'));
  api.give('right');
  assert.equal((await api.request('GET', 'a')).answer, 1);
  assert.deepEqual(denied, [false, true]);
});

test('a late refusal of the token before does not ask for another', async () => {
  let refuse;
  const api = new Api((path) => path === 'slow' ? new Promise((resolve) => { refuse = resolve; })
    : Promise.resolve(response(200, '1')), 'old');
  const denied = [];
  api.denied = (refused) => denied.push(refused);
  const slow = problemOf(api.request('GET', 'slow'));
  await new Promise(setImmediate);
  api.token = 'new';
  refuse(response(401, ''));
  assert.equal((await slow)[0], 401);
  assert.deepEqual(denied, []);
  assert.equal((await api.request('GET', 'a')).answer, 1);
});

test('what we may do is as the server says, and told when it changes', async () => {
  const roles = [['viewer'], ['viewer'], [undefined], ['admin']];
  const {api} = apiWith('', ...roles.map(([role]) =>
    [200, '{}', {'Thing-Api': '1', ...(role && {'Thing-Role': role})}]));
  const told = [];
  api.roleChanged = () => told.push(api.role);
  for (const _ of roles) await api.request('GET', 'things');
  assert.deepEqual(told, ['viewer', 'admin']);
});
