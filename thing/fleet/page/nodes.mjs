// The list of the nodes, and the question that brings what is known of them; the totals, the chart
// and the filter get their part of the answer.

import {paintEnds} from './chart.mjs';
import {$, icon, make} from './dom.mjs';
import {offerNodes} from './filters.mjs';
import {api, pollers, serverNow} from './state.mjs';
import {paintTotals} from './status.mjs';
import {counted, duration, roundTrip, visible} from './text.mjs';

const SLOW_LOOP = 0.1; // Seconds: such a node serves its things late.

export function askForNodes() {
  pollers.add(async (signal) => {
    const {answer: {nodes}} = await api.request('GET', 'nodes', {signal});
    if (signal.aborted) return;
    $('nodes').replaceChildren(...nodes.map(nodeItem));
    offerNodes(nodes.map((node) => node.node));
    paintTotals(nodes);
    paintEnds(nodes);
  });
}

function nodeItem(node) {
  const status = make('span', {className: 'status'},
    icon({up: 'present', draining: 'late', stopped: 'gone'}[node.status] ?? 'bad'),
    visible(node.status));
  const name = make('span', {className: 'name', textContent: visible(node.node)});
  name.title = name.textContent;
  const isThere = !['stopped', 'lost'].includes(node.status);
  const until = isThere ? serverNow() : node.lastSeen;
  const facts = make('span', {className: 'muted'}, `${counted(node.sessions, 'session')}, ` +
    `${counted(node.handshakes, 'handshake')}, up ${duration(until - node.since)}`);
  facts.title = node.version ? `Thing ${visible(node.version)}` : '';
  const item = make('li', {}, name, status, facts);
  if (isThere) item.append(healthOf(node));
  item.dataset.status = node.status;
  return item;
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
