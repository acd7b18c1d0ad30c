// The dialog that asks for the server's token, and the button that forgets it. What waits for a
// token meanwhile is in api.mjs.

import {$, on, setText} from './dom.mjs';
import {api, forgetToken, link, takeToken} from './state.mjs';

export function askForToken(refused) {
  setText($('token-note'), refused ? 'The server did not take this token.' : '');
  if (link.gated) return;
  link.gated = true;
  $('token').value = '';
  $('token-dialog').showModal();
  link.changed();
}

function submitted(event) {
  event.preventDefault();
  const given = $('token').value.trim();
  if (!/^[\x21-\x7e]+$/.test(given)) {
    setText($('token-note'), 'A token has visible ASCII characters, and no spaces.');
    return;
  }
  $('forget').hidden = false;
  link.gated = false;
  $('token-dialog').close();
  takeToken(given);
}

export function listenToToken() {
  $('forget').hidden = !api.token;
  on('token-form', 'submit', submitted);
  on('token-dialog', 'cancel', (event) => event.preventDefault());
  // Browsers let a second Escape close it all the same.
  on('token-dialog', 'close', () => { if (link.gated) $('token-dialog').showModal(); });
  on('forget', 'click', forgetToken);
}
