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

test('rows and pages are counted, as far as it is known how many there are', () => {
  const first = viewOf({limit: 50}), third = viewOf({limit: 50, trail: ['', 'a', 'b']});
  assert.equal(first.rangeOf(1, true, 1), '1 thing');
  assert.equal(first.rangeOf(50, false, 312), 'Page 1 of 7, 1–50 of 312 things');
  assert.equal(third.rangeOf(50, false, 1312), 'Page 3 of 27, 101–150 of 1,312 things');
  assert.equal(third.rangeOf(12, true, null), 'Page 3 of 3, 101–112 of 112 things');
  assert.equal(third.rangeOf(51, false, null), 'Page 3, 101–150');
  assert.equal(third.rangeOf(0, true, 7), 'Page 3, 0 things');
});

test('the number that is known may be late, and is never less than what is seen', () => {
  assert.equal(viewOf({limit: 25}).rangeOf(25, false, 3), 'Page 1 of 2, 1–25 of 26 things');
});

test('of a search nobody knows how many things it finds, and its pages may not be full', () => {
  for (const changes of [{q: 'lamp'}, {status: 'late'}]) {
    const view = viewOf({...changes, trail: ['', 'a']});
    assert.equal(view.rangeOf(7, false, 312), 'Page 2, 7 things');
  }
});
