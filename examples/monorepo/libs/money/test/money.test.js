import assert from 'node:assert/strict';
import { test } from 'node:test';

import { amount, cents } from '../src/money.js';

test('amounts and cents are each other\'s inverse', () => {
  for (const text of ['0.00', '0.05', '1.00', '12.30', '1234567.89']) assert.equal(amount(cents(text)), text);
  assert.equal(cents('7'), 700);
});

test('what is no amount is refused', () => {
  for (const text of ['', '1.5', '-1.00', '1,00', '1e3', ' 1']) assert.throws(() => cents(text), RangeError);
});
