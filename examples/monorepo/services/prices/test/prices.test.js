import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { price, server } from '../src/prices.js';

let origin;
const listening = server();
before(() => new Promise((resolve) => listening.listen(0, '127.0.0.1', () => {
  origin = `http://127.0.0.1:${listening.address().port}`;
  resolve();
})));
after(() => listening.close());

test('items have prices in cents', () => {
  assert.deepEqual(price('desk'), { item: 'desk', cents: 24900 });
  assert.equal(price('toString'), null);
});

test('prices are served', async () => {
  const answer = await fetch(`${origin}/prices/pen`);
  assert.deepEqual(await answer.json(), { item: 'pen', cents: 120 });
});

test('what is not there is said', async () => {
  for (const path of ['/prices/car', '/', '/prices/../prices/pen/x']) {
    assert.equal((await fetch(origin + path)).status, 404);
  }
});
