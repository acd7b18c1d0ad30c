// What the user does to the thing in the details: send it a message, ask it to leave; and how that
// went.

import {PATIENCE, pathOf} from './api.mjs';
import {$, isComposed, on, say} from './dom.mjs';
import {repaint} from './frame.mjs';
import {api, selection} from './state.mjs';
import {shortened, visible} from './text.mjs';

const LONGEST_REPLY = 20000; // What is shown of a reply, characters.
const MOST_DRAFTS = 50; // So many things' are remembered.

const drafts = new Map(); // What was typed and is not taken, by the thing's id; the latest is last.

function keepDraft() {
  const {id} = selection.chosen, text = $('message').value;
  drafts.delete(id);
  if (text) drafts.set(id, text);
  if (drafts.size > MOST_DRAFTS) drafts.delete(drafts.keys().next().value);
}

// Begin anew, for the thing that was chosen: with what was typed for it.
export function clearComposer() {
  $('message').value = drafts.get(selection.chosen.id) ?? '';
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
  repaint();
  try {
    tell('good', await work(mine.id));
  } catch (error) {
    tell('bad', [error.message, error.detail].filter(Boolean).join(': '));
  } finally {
    button.dataset.busy = '';
    repaint();
  }
}

function sendMessage(event) {
  event.preventDefault();
  const seconds = Number($('patience').value), message = $('message').value;
  act($('send').querySelector('button'), 'answer', 'Waiting for the thing', async (id) => {
    const {answer} = await api.request('POST', `${pathOf(id, '/messages')}&timeout=${seconds}`, {
      body: message, headers: {'Content-Type': 'text/plain;charset=utf-8'},
      patience: seconds * 1000 + PATIENCE,
    }).catch(unsure);
    taken(id, message);
    const {text, base64} = answer.reply ?? {};
    if (!text && !base64) return 'Acknowledged; it replied nothing.';
    return `Acknowledged; it replied${text ? '' : ' octets, base64'}:\n` +
      visible(shortened(text || base64, LONGEST_REPLY), '\n\t');
  });
}

// The program of a thing has the message: it need not be kept, unless it was changed meanwhile.
function taken(id, message) {
  if (drafts.get(id) === message) drafts.delete(id);
  if (selection.chosen?.id === id && $('message').value === message) $('message').value = '';
}

function sendByKey(event) {
  const isWish = event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !isComposed(event);
  if (isWish && !$('send').querySelector('button').disabled) $('send').requestSubmit();
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
  on('message', 'input', keepDraft);
  on('message', 'keydown', sendByKey);
  on('leave', 'click', () => { askSure(true); $('leave-no').focus(); });
  on('leave-no', 'click', () => { askSure(false); $('leave').focus(); });
  on('leave-yes', 'click', dismiss);
}
