// The stream of events: how it is read, and how it is found again.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {Follower, messageReader} from '../../../thing/fleet/page/following.mjs';
import {Link, Problem} from '../../../thing/fleet/page/link.mjs';

// The messages in these pieces of a stream.
function messagesIn(pieces, longest) {
  const messages = [];
  const take = messageReader((...message) => messages.push(message), longest);
  for (const piece of pieces) take(piece);
  return messages;
}

const WHOLE = ':\n\nevent: joined\nid: 5-0\ndata: {"id": "lamp: 1"}\n\nevent: reset\ndata: {}\n\n';
const EXPECTED = [['joined', '{"id": "lamp: 1"}', '5-0'], ['reset', '{}', undefined]];

test('messages are read with kind, data and position; comments are not told', () => {
  assert.deepEqual(messagesIn([WHOLE]), EXPECTED);
});

test('messages are the same wherever the network cuts them', () => {
  assert.deepEqual(messagesIn([...WHOLE]), EXPECTED);
  for (let at = 0; at < WHOLE.length; at += 1) {
    assert.deepEqual(messagesIn([WHOLE.slice(0, at), WHOLE.slice(at)]), EXPECTED, `cut at ${at}`);
  }
  assert.deepEqual(messagesIn([...WHOLE.replaceAll('\n', '\r\n')]), EXPECTED);
});

test('one space behind the colon is no part of the value, and data may have lines', () => {
  assert.deepEqual(messagesIn(['data:a\ndata:  b\ndata\n\n']), [['message', 'a\n b\n', undefined]]);
});

test('a message is told at its empty line, and not before', () => {
  assert.deepEqual(messagesIn(['data: a\n']), []);
  assert.deepEqual(messagesIn(['event: joined\nid: 1-0\n\n']), []);
});

test('a line that is too long is left out with its message, and the next is read', () => {
  const next = 'event: late\nid: 6-0\ndata: b\n\n';
  const long = ['id: 5-0\ndata: ', 'm'.repeat(60), `data: ${'m'.repeat(60)}`, 'data: m\n\n'];
  assert.deepEqual(messagesIn([...long, next], 50), [['late', 'b', '6-0']]);
  assert.deepEqual(messagesIn([`${long.join('')}${next}`], 200).length, 2);
});

// Follow a server that answers like this, one answer after the other; then the page is hidden.
async function follow(...answers) {
  const asked = [], told = [];
  let over;
  const done = new Promise((resolve) => { over = resolve; });
  const api = {
    async request(method, path, {headers}) {
      asked.push(headers['Last-Event-ID']);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return {body: new Blob([answer]).stream()};
    },
  };
  const whenSeen = () => answers.length ? Promise.resolve() : (over(), new Promise(() => {}));
  const link = new Link();
  const follower = new Follower(api, link, whenSeen);
  follower.taken = (kind, data) => told.push([kind, data]);
  follower.opened = () => told.push('opened');
  follower.ended = () => { told.push('ended'); setImmediate(() => follower.wake()); };
  follower.run();
  await done;
  return {asked, told, link};
}

test('the page begins with what happened in the last five minutes', async () => {
  const before = Date.now();
  const {asked: [position]} = await follow('');
  const [, milliseconds] = /^(\d+)-0$/.exec(position);
  assert.ok(milliseconds >= before - 300000 && milliseconds <= Date.now() - 300000, position);
});

test('after an end the page goes on behind the last event that came', async () => {
  const {asked, told} = await follow(WHOLE, new Problem(0, 'silent'), 'data: b\nid: 7-0\n\n', '');
  assert.deepEqual(asked.slice(1), ['5-0', '5-0', '7-0']);
  assert.deepEqual(told, ['opened', ['joined', '{"id": "lamp: 1"}'], ['reset', '{}'], 'ended',
    'ended', 'opened', ['message', 'b'], 'ended', 'opened', 'ended']);
});

test('why there is no stream is known, and the time of the next try', async () => {
  const before = Date.now();
  const {link} = await follow(new Problem(503, 'busy'));
  assert.deepEqual([link.stream, link.noStream.message], [false, 'busy']);
  assert.ok(link.nextTry >= before + 250 && link.nextTry <= Date.now() + 500);
  assert.equal((await follow('')).link.noStream.message, 'The server ended the stream');
});

test('letters that the network cuts in two arrive whole', async () => {
  const octets = new TextEncoder().encode('data: 💡\n\n');
  const body = new ReadableStream({
    start(control) {
      for (const octet of octets) control.enqueue(new Uint8Array([octet]));
      control.close();
    },
  });
  const told = [];
  const hidden = new Promise(() => {});
  let seen = 0;
  const follower = new Follower({request: async () => ({body})}, new Link(),
    () => seen++ ? hidden : Promise.resolve());
  follower.taken = (...message) => told.push(message);
  await new Promise((resolve) => { follower.ended = resolve; follower.run(); });
  follower.wake();
  assert.deepEqual(told, [['message', '💡']]);
});
