// The open reaches of the thing in the details, each with a button that ends it once that is
// confirmed. How a reach is told is in reaches.mjs.

import {act} from './composer.mjs';
import {$, make, setText} from './dom.mjs';
import {begun, soFar, whose} from './reaches.mjs';
import {api, serverNow} from './state.mjs';
import {visible} from './text.mjs';

class Item {
  #sure = false; // Whether the next click ends it.

  constructor(reach) {
    this.id = reach.id;
    this.word = make('span', {textContent: 'End'});
    this.end = make('button', {type: 'button', className: 'acts'}, this.word,
      make('span', {className: 'unseen', textContent: ` ${begun(reach)}`}));
    this.end.addEventListener('click', () => this.#clicked());
    this.end.addEventListener('blur', () => this.#ask(false));
    this.figures = make('p', {className: 'muted'});
    this.element = make('li', {},
      make('strong', {className: 'name', textContent: visible(reach.service)}),
      make('span', {className: 'name', textContent: whose(reach), title: visible(reach.key)}),
      this.end, this.figures);
  }

  paint(reach) {
    setText(this.figures, soFar(reach, serverNow()));
  }

  #ask(sure) {
    this.#sure = sure;
    setText(this.word, sure ? 'Yes, end' : 'End');
  }

  #clicked() {
    const sure = this.#sure;
    this.#ask(!sure);
    if (sure) this.#finish();
  }

  #finish() {
    act(this.end, 'reach-ended', 'Ending it', async () => {
      await api.request('DELETE', `reaches/${encodeURIComponent(this.id)}`);
      return 'It is ended.';
    });
  }
}

const items = new Map(); // By the reach's id.

export function paintReaches(reaches, complete) {
  const open = new Set(reaches.map(({id}) => id));
  for (const [id, {element}] of items) if (!open.has(id)) remove(id, element);
  for (const reach of reaches) {
    if (!items.has(reach.id)) {
      items.set(reach.id, new Item(reach));
      $('reaches').append(items.get(reach.id).element);
    }
    items.get(reach.id).paint(reach);
  }
  $('no-reach').hidden = !complete || reaches.length > 0;
  $('more-reaches').hidden = complete;
}

function remove(id, element) {
  items.delete(id);
  if (element.contains(document.activeElement)) $('reaches-title').focus();
  element.remove();
}
