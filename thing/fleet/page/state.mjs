// What the parts of the page share: one of each of the objects that know something. It is changed
// by events and answers (main.mjs, table.mjs, details.mjs) and painted by the others.

import {Api} from './api.mjs';
import {Beats} from './beats.mjs';
import {Follower} from './following.mjs';
import {Happenings} from './happenings.mjs';
import {storeOf} from './kept.mjs';
import {Link, ServerClock} from './link.mjs';
import {Listing} from './listing.mjs';
import {Pollers} from './polling.mjs';
import {View} from './view.mjs';

const TOKEN = 'thing-token'; // Its key in the tab's storage.

const began = Date.now();

const session = storeOf(() => sessionStorage); // Until the tab is closed.
export const local = storeOf(() => localStorage);

export const view = new View();
export const beats = new Beats();
export const listing = new Listing(view, (record) => beats.note(record));
export const happenings = new Happenings();
export const link = new Link();
const clock = new ServerClock(link);

// The thing in the details: its id, its record, and whether the server knows it no more.
export const selection = {chosen: null};

// The ids of the things that are chosen, to do something to all of them.
export const picks = new Set();

export const serverNow = () => clock.read(Date.now());
export const setServerTime = (answer, date) => clock.set(answer, date, Date.now());
// Whether it happened while the page was open.
export const isNew = (event) => event.at > clock.when(began);

export const api = new Api((...question) => fetch(...question),
  session.read(TOKEN) ?? '');
export const follower = new Follower(api, link, whenSeen);
export const pollers = new Pollers({
  isSeen: () => !document.hidden,
  reached: () => { if (link.reached(Date.now()) && !link.stream) follower.wake(); },
  failed: (error) => link.failed(error),
});

async function whenSeen() {
  while (document.hidden) {
    await new Promise((resolve) => {
      document.addEventListener('visibilitychange', resolve, {once: true});
    });
  }
}

// Without the pauses that failures made.
export function tryNow() {
  follower.wake();
  pollers.restart();
}

// Events were lost: a server that began anew, with its clock behind, counts from less than it did.
export function forgetOrder() {
  listing.forgetOrder();
  beats.forgetOrder();
  if (selection.chosen?.record) Object.assign(selection.chosen.record, {epoch: 0, sequence: 0});
}

export function takeToken(token) {
  session.write(TOKEN, token);
  api.give(token);
  tryNow();
}

export function forgetToken() {
  session.write(TOKEN, null);
  location.reload(); // So that nothing stays in memory, either.
}

// Keep in the page's address what is looked at.
export const keepAddress = () =>
  history.replaceState(null, '', view.address(selection.chosen?.id ?? null));
