// What the user does to many things at once: those that were chosen, each with its result.

import {PATIENCE, pathOf} from './api.mjs';
import {$, announce, make, on, say, setText} from './dom.mjs';
import {repaint} from './frame.mjs';
import {api, picks} from './state.mjs';
import {counted, shortened, visible} from './text.mjs';

const AT_ONCE = 3; // So many questions: browsers have six connections to a server.
const WAIT = 10; // For a thing's answer, seconds.
const LONGEST = 200; // What is shown of an answer, characters.

// What each asks for, in words before it is done, and the question about one thing; that returns
// how it went.
const ACTIONS = {
  send: {title: (things) => `Send a message to ${things}`, yes: 'Send it', note: '',
    ask: async (id) => {
      const {answer: {reply = {}}} = await api.request('POST',
        `${pathOf(id, '/messages')}&timeout=${WAIT}`, {body: $('bulk-message').value,
          headers: {'Content-Type': 'text/plain;charset=utf-8'}, patience: WAIT * 1000 + PATIENCE});
      const text = reply.text || reply.base64;
      return text ? `replied: ${visible(shortened(text, LONGEST))}` : 'acknowledged';
    }},
  leave: {title: (things) => `Ask ${things} to leave`, yes: 'Yes, they shall leave',
    note: 'They say goodbye. Whether they come back is up to them.',
    ask: async (id) => {
      await api.request('DELETE', pathOf(id));
      return 'is asked';
    }},
  forget: {title: (things) => `Forget ${things}`, yes: 'Yes, forget them',
    note: 'Those that are gone are remembered no more. Those that are here stay as they are.',
    ask: async (id) => {
      await api.request('DELETE', pathOf(id, '/record'));
      return 'is forgotten';
    }},
};

let action = null; // What is to be done; null while nothing is.
let running = null; // Ends what is being done.

export function paintBulk() {
  $('bulk').hidden = picks.size === 0;
  setText($('bulk-count'), `${counted(picks.size, 'thing')} chosen`);
}

function prepare(name) {
  action = ACTIONS[name];
  setText($('bulk-title'), action.title(counted(picks.size, 'thing')));
  setText($('bulk-note'), action.note);
  setText($('bulk-yes'), action.yes);
  $('bulk-yes').hidden = false;
  $('bulk-message-label').hidden = $('bulk-message').disabled = name !== 'send';
  $('bulk-list').replaceChildren(...[...picks].map((id) => make('li', {},
    make('span', {className: 'name', textContent: visible(id)}), make('output'))));
  say('bulk-answer', '', '');
  $('bulk-dialog').showModal();
  $(name === 'send' ? 'bulk-message' : 'bulk-close').focus();
}

async function begin(event) {
  event.preventDefault();
  if (running) return;
  const mine = running = new AbortController();
  $('bulk-yes').hidden = $('bulk-message').disabled = true;
  $('bulk-list').focus();
  const all = [...picks], waiting = all.map((id, at) => [id, $('bulk-list').children[at]]);
  let done = 0;
  const work = async () => {
    for (let next; !mine.signal.aborted && (next = waiting.shift());) {
      if (await doOne(...next)) done += 1;
    }
  };
  await Promise.all(Array.from({length: AT_ONCE}, work));
  const isOpen = mine === running; // Else the user has closed it.
  if (isOpen) running = null;
  if (isOpen && done === all.length) $('bulk-message').value = '';
  const words = `${done} of ${counted(all.length, 'thing')}: done`;
  if (isOpen) say('bulk-answer', done === all.length ? 'good' : 'bad', words);
  else announce(words);
  repaint();
}

// Ask about one; return whether it was done.
async function doOne(id, item) {
  const output = item.querySelector('output');
  setText(output, '…');
  try {
    setText(output, await action.ask(id));
    output.dataset.tone = 'good';
    picks.delete(id);
    return true;
  } catch (error) {
    setText(output, [error.message, error.detail].filter(Boolean).join(': '));
    output.dataset.tone = 'bad';
    return false;
  }
}

export function listenToBulk() {
  for (const name of Object.keys(ACTIONS)) on(`bulk-${name}`, 'click', () => prepare(name));
  on('bulk-none', 'click', () => { picks.clear(); repaint(); $('scroll').focus(); });
  on('bulk-form', 'submit', begin);
  on('bulk-close', 'click', () => $('bulk-dialog').close());
  on('bulk-dialog', 'close', () => {
    running?.abort(); // What was asked is asked; nothing more is.
    running = null;
    $(picks.size ? 'bulk-none' : 'scroll').focus();
  });
}
