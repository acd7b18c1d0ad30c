// The list of the nodes, and the question that brings what is known of them; the totals, the chart
// and the filter get their part of the answer.

import {paintEnds} from './chart.mjs';
import {$, announce, icon, make, setText} from './dom.mjs';
import {offerNodes} from './filters.mjs';
import {api, pollers, serverNow} from './state.mjs';
import {paintTotals} from './status.mjs';
import {counted, duration, roundTrip, visible} from './text.mjs';

const QUESTION = 5000; // So long a question waits for its answer, milliseconds.
const SLOW_LOOP = 0.1; // Seconds: such a node serves its things late.

let nodes = null; // Asks for them.

export function askForNodes() {
  nodes = pollers.add(async (signal) => {
    const {answer} = await api.request('GET', 'nodes', {signal});
    if (!signal.aborted) paint(answer.nodes);
  });
}

function paint(found) {
  const focused = document.activeElement;
  const gone = found.filter((node) => !isThere(node)).map((node) => node.node);
  for (const name of buttons.keys()) if (!gone.includes(name)) buttons.delete(name);
  $('nodes').replaceChildren(...found.map(nodeItem));
  if (focused !== document.activeElement && focused.isConnected) focused.focus();
  offerNodes(found.map((node) => node.node));
  paintTotals(found);
  paintEnds(found);
}

const isThere = ({status}) => !['stopped', 'lost'].includes(status);

function nodeItem(node) {
  const status = make('span', {className: 'status'},
    icon({up: 'present', draining: 'late', stopped: 'gone'}[node.status] ?? 'bad'),
    visible(node.status));
  const name = make('span', {className: 'name', textContent: visible(node.node)});
  name.title = name.textContent;
  const until = isThere(node) ? serverNow() : node.lastSeen;
  const facts = make('span', {className: 'muted'}, `${counted(node.sessions, 'session')}, ` +
    `${counted(node.handshakes, 'handshake')}, up ${duration(until - node.since)}`);
  facts.title = node.version ? `Thing ${visible(node.version)}` : '';
  const item = make('li', {}, name, status, facts);
  item.append(isThere(node) ? healthOf(node) : forgetting(node.node));
  item.dataset.status = node.status;
  return item;
}

// The buttons of nodes that are not there, by name; they stay while the list is painted anew.
const buttons = new Map();

function forgetting(name) {
  if (!buttons.has(name)) buttons.set(name, forgetButton(name));
  return buttons.get(name);
}

// At the second click, if it comes soon, the node is shown no more.
function forgetButton(name) {
  const word = make('span', {textContent: 'Forget'});
  const button = make('button', {type: 'button', className: 'acts'}, word,
    make('span', {className: 'unseen', textContent: ` ${visible(name)}`}));
  let asking = 0; // The timer of the question whether that is wanted; 0 if it is not asked.
  const ask = (now) => {
    clearTimeout(asking);
    asking = now ? setTimeout(() => ask(false), QUESTION) : 0;
    setText(word, now ? 'Yes, forget' : 'Forget');
  };
  button.addEventListener('click', async () => {
    const wanted = asking !== 0;
    ask(!wanted);
    if (!wanted) return;
    try {
      await api.request('DELETE', `node?name=${encodeURIComponent(name)}`);
      $('nodes-title').focus();
      announce(`${visible(name)} is forgotten`);
    } catch (error) {
      setText(word, error.message);
    }
    nodes.restart();
  });
  return button;
}

function healthOf(node) {
  const slow = node.loopLag > SLOW_LOOP, lacking = ['away', 'impaired'].includes(node.registry);
  const registry = make('span', {className: lacking ? 'warn' : '', textContent:
    node.registry === 'memory' ? 'registry in memory' : `registry ${visible(node.registry)}`});
  registry.title = visible(node.registryReason);
  return make('span', {className: 'muted'},
    make('span', {className: slow ? 'warn' : '',
      textContent: `loop lag ${roundTrip(node.loopLag)}${slow ? ', slow' : ''}`}),
    ', ', registry);
}
