// The dialog of the invitations: one is made and shown, and those that are known are listed, to be
// withdrawn or confirmed. The secret of an invitation is only in what is shown of it, and goes with
// it: it is neither in a variable nor in a field, which browsers may keep.

import {$, announce, arrange, copy, draw, icon, make, on, say, setAttribute, setText} from './dom.mjs';
import {inOrder, isOpen, isPending, isWaiting, pathOfCode, told, wishOf}
  from './invitations.mjs';
import {POLL} from './link.mjs';
import {api, pollers, serverNow} from './state.mjs';
import {counted, visible} from './text.mjs';

const QUIET = 4; // The margin of a QR code, modules.
const CLOSED = 10000; // Between two questions while the dialog is closed, milliseconds.

const items = new Map(); // By the invitation's id.
let shown = null; // The id of the invitation whose command is shown.
let waiting = 0; // How many wait for the user, as announced.

const invitations = pollers.add(async (signal) => {
  const found = await ask(signal);
  if (signal.aborted) return true;
  $('invite').hidden = found === null;
  if (found === null) return false;
  paint(inOrder(found));
  return true;
}, () => $('invite-dialog').open ? POLL : CLOSED);

export const askForInvitations = () => invitations.restart();

// Null if this server invites nobody, or we may not know whom.
async function ask(signal) {
  if (api.role !== 'admin') return null;
  try {
    return (await api.request('GET', 'invitations', {signal})).answer.invitations;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// Do what the user asked for, once at a time; say how it went. The button is not disabled, as it
// would lose the focus.
async function act(button, output, words, work) {
  if (button.dataset.busy === 'yes') return;
  button.dataset.busy = 'yes';
  say(output, '', words);
  try {
    say(output, 'good', await work());
  } catch (error) {
    say(output, 'bad', [error.message, error.detail].filter(Boolean).join(': '));
  } finally {
    button.dataset.busy = '';
    invitations.restart();
  }
}

class Item {
  constructor({id, name}) {
    this.path = `invitations/${encodeURIComponent(id)}`;
    this.status = make('span', {className: 'status'});
    this.key = make('code');
    const button = (word, work) => {
      const made = make('button', {type: 'button'}, word,
        make('span', {className: 'unseen', textContent: ` ${visible(name)}`}));
      made.addEventListener('click', () =>
        act(made, 'invitations-answer', 'Asking the server', work));
      return made;
    };
    this.withdrawing = button('Withdraw', () => this.#withdraw());
    this.question = make('div', {className: 'line'},
      button('Yes, admit', () => this.#confirm()), button('No, turn away', () => this.#withdraw()));
    this.element = make('li', {}, make('strong', {className: 'name', textContent: visible(name)}),
      this.status, this.withdrawing, this.key, this.question);
  }

  paint(invitation) {
    const {symbol, words} = told(invitation, serverNow());
    if (this.status.dataset.shown !== words) {
      this.status.dataset.shown = words;
      this.status.replaceChildren(icon(symbol), words);
    }
    setText(this.key, visible(invitation.fingerprint));
    this.fingerprint = invitation.fingerprint;
    this.key.hidden = !invitation.fingerprint;
    this.question.hidden = !isWaiting(invitation);
    this.withdrawing.hidden = !isPending(invitation);
    const focused = document.activeElement;
    if (this.element.contains(focused) && focused.closest('[hidden]')) focusOnList();
  }

  async #withdraw() {
    await api.request('DELETE', this.path);
    return 'It is withdrawn.';
  }

  // What is confirmed is the key that the user sees.
  async #confirm() {
    await post(`${this.path}/confirmation`, {fingerprint: this.fingerprint});
    return 'The key is admitted.';
  }
}

const post = (path, wish) => api.request('POST', path, {body: JSON.stringify(wish),
  headers: {'Content-Type': 'application/json'}});

function paint(found) {
  const count = found.filter(isWaiting).length;
  setText($('invite'), count ? `Invite (${count} waiting)` : 'Invite');
  if (count > waiting) tell(`${counted(count, 'invited key')} waiting for your yes`);
  waiting = count;
  const byId = new Map(found.map((invitation) => [invitation.id, invitation]));
  if (shown !== null && !isOpen(byId.get(shown) ?? {}, serverNow())) hide();
  for (const [id, {element}] of items) if (!byId.has(id)) remove(id, element);
  for (const invitation of found) {
    if (!items.has(invitation.id)) items.set(invitation.id, new Item(invitation));
    items.get(invitation.id).paint(invitation);
  }
  arrange($('invitations'), found.map(({id}) => items.get(id).element));
  $('no-invitation').hidden = found.length > 0;
}

// While the dialog is open nothing else of the page is heard.
function tell(words) {
  if ($('invite-dialog').open) say('invitations-answer', '', words);
  else announce(words);
}

const focusOnList = () => $('invitations-title').focus();

function remove(id, element) {
  items.delete(id);
  if (element.contains(document.activeElement)) focusOnList();
  element.remove();
}

function invite(event) {
  event.preventDefault();
  const wish = wishOf({name: $('invite-name').value, servers: $('invite-servers').value,
    lifetime: $('invite-lifetime').value, confirm: $('invite-confirm').checked,
    replace: $('invite-replace').checked});
  act($('invite-form').querySelector('.main'), 'invite-answer', 'Asking the server', async () => {
    const {answer} = await post('invitations', wish);
    if ($('invite-dialog').open) show(answer);
    $('invite-name').value = '';
    return '';
  });
}

function show({id, name, command, qr}) {
  invitations.restart(); // What was asked before does not know it.
  shown = id;
  setText($('invited-title'), `Run this on ${visible(name)}`);
  setText($('invited-command'), visible(command));
  setText($('invited-copied'), '');
  const size = qr.length + 2 * QUIET;
  setAttribute($('invited-code'), 'viewBox', `${-QUIET} ${-QUIET} ${size} ${size}`);
  $('invited-code').replaceChildren(draw('path', {d: pathOfCode(qr)}));
  $('invited-code').toggleAttribute('hidden', !qr.length); // Of a token too long for cameras.
  $('invited').hidden = false;
  $('invite-form').hidden = true;
  $('invited-title').focus();
}

// The secret goes; who had the focus there goes to the list.
function hide() {
  shown = null;
  if ($('invited').contains(document.activeElement)) focusOnList();
  $('invited').hidden = true;
  $('invite-form').hidden = false;
  $('invited-command').replaceChildren();
  $('invited-code').replaceChildren();
}

function open() {
  for (const output of ['invite-answer', 'invitations-answer']) say(output, '', '');
  $('invite-dialog').showModal();
  $(waiting ? 'invitations-title' : 'invite-name').focus();
  invitations.restart();
}

export function listenToInvitations() {
  on('invite', 'click', open);
  on('invite-form', 'submit', invite);
  on('invite-close', 'click', () => $('invite-dialog').close());
  on('invite-dialog', 'close', hide);
  on('invited-copy', 'click', () =>
    copy('invited-command', $('invited-command').textContent, 'invited-copied'));
  on('invited-done', 'click', hide);
}
