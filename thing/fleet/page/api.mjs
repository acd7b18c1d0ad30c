// Asks the server, with the token if it wants one. All questions wait while the user is asked for
// it; the dialog is in token.mjs, and what to ask is known elsewhere.

import {Problem} from './link.mjs';
import {visible} from './text.mjs';

export const PATIENCE = 20000; // For an answer, milliseconds.

const MARK = 'Thing-Api'; // A header of every answer of the server; a proxy's own have it not.
const ROLE = 'Thing-Role'; // Says what we may do: a viewer looks, and an admin does everything.

// The path of one thing. Proxies change what is in a path, but leave the query alone.
export const pathOf = (id, rest = '') => `thing${rest}?id=${encodeURIComponent(id)}`;

export class Api {
  #gate = null; // What all questions wait for.
  #open = null; // Opens it.
  role = ''; // As the server said last; empty before.
  roleChanged = () => {}; // Told then.
  denied = () => {}; // Told that a token is wanted; with whether the one that was given is wrong.

  // fetch: as the browser's; token: the one to begin with, empty for none.
  constructor(fetch, token) {
    this.fetch = fetch;
    this.token = token;
  }

  // The user gave a token: go on.
  give(token) {
    this.token = token;
    this.#gate = null;
    this.#open();
  }

  // Ask; return the answer and the server's date. If patience is 0, it is a stream: return the
  // response itself.
  async request(method, path, {signal, headers = {}, body, patience = PATIENCE} = {}) {
    while (this.#gate) await this.#gate;
    const used = this.token;
    const control = new AbortController();
    const stop = () => control.abort();
    const timer = patience ? setTimeout(stop, patience) : 0;
    signal?.addEventListener('abort', stop, {once: true});
    if (signal?.aborted) stop();
    try {
      const response = await this.fetch(path, {method, body, signal: control.signal,
        cache: 'no-store', redirect: 'error',
        headers: used ? {...headers, Authorization: `Bearer ${used}`} : headers});
      if (!response.headers.has(MARK)) {
        throw new Problem(0, `A proxy answers ${response.status} in place of the server`);
      }
      if (used === this.token) this.#hear(response.headers.get(ROLE));
      if (response.status === 401) {
        if (used === this.token) this.#close(used !== '');
        throw new Problem(401, 'A token is needed');
      }
      if (response.ok && !patience) return response;
      const text = await response.text();
      if (!response.ok) throw problemOf(response.status, text);
      return {answer: JSON.parse(text), date: Date.parse(response.headers.get('Date')) / 1000};
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw new Problem(0, 'The server does not answer', String(error.message));
    } finally {
      clearTimeout(timer);
      if (patience) signal?.removeEventListener('abort', stop);
    }
  }

  // Ask for things. A search that took the server too long is gone on with where it ended, until
  // something is found or nothing is left.
  async things(question, options) {
    for (const wanted = new URLSearchParams(question); ;) {
      const found = await this.request('GET', `things?${wanted}`, options);
      const {things, following} = found.answer;
      if (things.length || following === null) return found;
      wanted.set('after', following);
    }
  }

  // Ask about one thing; return its record, or null if the server knows nothing of it.
  async thing(id, options) {
    try {
      return (await this.request('GET', pathOf(id), options)).answer;
    } catch (error) {
      if (error.status === 404 && error.unknown === id) return null;
      throw error;
    }
  }

  #hear(role) {
    if (!role || role === this.role) return;
    this.role = role;
    this.roleChanged();
  }

  #close(refused) {
    this.#gate ??= new Promise((resolve) => { this.#open = resolve; });
    this.denied(refused);
  }
}

function problemOf(status, text) {
  let found = {};
  try { found = JSON.parse(text) ?? {}; } catch { /* A proxy's page with our headers, perhaps. */ }
  return new Problem(status, visible(found.title ?? `The server answered ${status}`),
    found.detail ? visible(found.detail) : '', found.id);
}
