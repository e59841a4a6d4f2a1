#!/usr/bin/env node
// headings [--depth N] [FILE]        print a table of contents
// headings --serve PORT              print one for what is posted
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { contents } from '../src/headings.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { depth: { type: 'string', default: '3' }, serve: { type: 'string' } },
});
const depth = Number(values.depth);
if (!(depth >= 1 && depth <= 6)) {
  console.error(`headings: --depth is a number from 1 to 6, not ${values.depth}`);
  process.exit(2);
}

if (values.serve === undefined) {
  process.stdout.write(contents(readFileSync(positionals[0] ?? 0, 'utf8'), { depth }));
} else {
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    response.setHeader('content-type', 'text/markdown; charset=utf-8');
    response.end(contents(Buffer.concat(parts).toString(), { depth }));
  });
  server.listen(Number(values.serve), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
}
