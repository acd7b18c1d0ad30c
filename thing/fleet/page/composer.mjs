// What the user does to the thing in the details: send it a message, ask it to leave; and how that
// went.

import {PATIENCE, pathOf} from './api.mjs';
import {$, on, say} from './dom.mjs';
import {schedule} from './frame.mjs';
import {api, selection} from './state.mjs';
import {shortened, visible} from './text.mjs';

const LONGEST_REPLY = 20000; // What is shown of a reply, characters.

// Begin anew, for another thing.
export function clearComposer() {
  $('message').value = '';
  for (const output of ['answer', 'left', 'reach-ended']) say(output, '', '');
  askSure(false);
}

// A thing that is gone can be told nothing.
export function paintComposer(gone) {
  for (const button of $('details').querySelectorAll('#send button, #leave')) {
    button.disabled = gone || button.dataset.busy === 'yes';
  }
}

// Do what the user asked for the thing that is chosen; say how it went, unless another is chosen by
// then.
export async function act(button, output, words, work) {
  const mine = selection.chosen;
  const tell = (tone, text) => { if (mine === selection.chosen) say(output, tone, text); };
  button.dataset.busy = 'yes';
  say(output, '', words);
  schedule();
  try {
    tell('good', await work(mine.id));
  } catch (error) {
    tell('bad', [error.message, error.detail].filter(Boolean).join(': '));
  } finally {
    button.dataset.busy = '';
    schedule();
  }
}

function sendMessage(event) {
  event.preventDefault();
  const seconds = Number($('patience').value);
  act($('send').querySelector('button'), 'answer', 'Waiting for the thing', async (id) => {
    const {answer} = await api.request('POST', `${pathOf(id, '/messages')}&timeout=${seconds}`, {
      body: $('message').value, headers: {'Content-Type': 'text/plain;charset=utf-8'},
      patience: seconds * 1000 + PATIENCE,
    }).catch(unsure);
    const {text, base64} = answer.reply ?? {};
    if (!text && !base64) return 'Acknowledged; it replied nothing.';
    return `Acknowledged; it replied${text ? '' : ' octets, base64'}:\n` +
      visible(shortened(text || base64, LONGEST_REPLY), '\n\t');
  });
}

// Without an answer of the server nobody knows what became of the message.
function unsure(error) {
  if (error.status === 0) error.detail = 'the message may have arrived';
  throw error;
}

function askSure(ask) {
  $('sure').hidden = !ask;
  $('leave').hidden = ask;
}

function dismiss() {
  askSure(false);
  act($('leave'), 'left', 'Asking it', async (id) => {
    await api.request('DELETE', pathOf(id));
    return 'It is asked to leave.';
  });
}

export function listenToComposer() {
  on('send', 'submit', sendMessage);
  on('leave', 'click', () => { askSure(true); $('leave-no').focus(); });
  on('leave-no', 'click', () => { askSure(false); $('leave').focus(); });
  on('leave-yes', 'click', dismiss);
}
