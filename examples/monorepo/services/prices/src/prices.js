// GET /prices/ITEM answers {"item": …, "cents": …}.
import { createServer } from 'node:http';

import { cents } from '../../../libs/money/src/money.js';

const PRICES = { pen: '1.20', paper: '4.99', desk: '249.00' };

export function price(item) {
  return Object.hasOwn(PRICES, item) ? { item, cents: cents(PRICES[item]) } : null;
}

export function server() {
  return createServer((request, response) => {
    const item = /^\/prices\/([a-z]+)$/.exec(request.url)?.[1];
    const found = item && price(item);
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(found ?? { error: 'there is no such item' }));
  });
}
