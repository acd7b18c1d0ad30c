// What the user chose to see, as a question, as an address, and as a rule.

import assert from 'node:assert/strict';
import {test} from 'node:test';

import {View} from '../../../thing/fleet/page/view.mjs';

import {record} from './made.mjs';

const viewOf = (changes) => Object.assign(new View(), changes);

test('the server is asked for what was chosen, and for nothing that was not', () => {
  assert.equal(String(new View().question()), 'limit=50');
  const view = viewOf({q: 'a&b', status: 'late', node: 'north', limit: 25, trail: ['', 'lamp/1']});
  assert.equal(String(view.question()), 'limit=25&q=a%26b&status=late&node=north&after=lamp%2F1');
});

test('the address keeps the filters and the thing, and brings them back', () => {
  const view = viewOf({q: 'ä #1', status: 'gone', node: 'north'});
  const again = new View();
  assert.equal(again.read(view.address('../nodes?#')), '../nodes?#');
  assert.deepEqual(again, viewOf({q: 'ä #1', status: 'gone', node: 'north'}));
  assert.equal(new View().address(null), '#');
});

test('an address with nothing, or with nonsense, is the view that everybody begins with', () => {
  for (const address of ['', '#', '#status=away&page=7', '#%%%']) {
    const view = new View();
    assert.equal(view.read(address), null, address);
    assert.equal(view.status, '', address);
    assert.equal(view.filtered, false, address);
  }
});

test('those that are gone are seen only if they are asked for', () => {
  const gone = record({status: 'gone'});
  assert.equal(new View().matches(record()), true);
  assert.equal(new View().matches(record({status: 'late'})), true);
  assert.equal(new View().matches(gone), false);
  assert.equal(viewOf({status: 'gone'}).matches(gone), true);
  assert.equal(viewOf({status: 'present'}).matches(record({status: 'late'})), false);
});

test('the search looks into id, name, key and address, whatever the case', () => {
  const lamp = record({id: 'id-7', name: 'Lamp', fingerprint: 'SHA256:Abc',
    address: '192.0.2.1:9'});
  for (const q of ['ID-7', 'lamp', 'sha256:abc', '2.0.2']) {
    assert.equal(viewOf({q}).matches(lamp), true, q);
  }
  for (const q of ['door', 'north', 'null']) {
    assert.equal(viewOf({q}).matches({...lamp, name: null}), false, q);
  }
});

test('any filter counts as one', () => {
  for (const changes of [{q: 'a'}, {status: 'late'}, {node: 'north'}]) {
    assert.equal(viewOf(changes).filtered, true, Object.keys(changes)[0]);
  }
});

test('a thing of another node is not seen', () => {
  assert.equal(viewOf({node: 'south'}).matches(record()), false);
  assert.equal(viewOf({node: 'north'}).matches(record()), true);
});
