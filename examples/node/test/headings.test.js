import assert from 'node:assert/strict';
import { test } from 'node:test';

import { contents, headings, slug } from '../src/headings.js';

test('headings have levels and links', () => {
  assert.deepEqual(headings('# One\n\ntext\n\n## Two, and more ##\n'), [
    { level: 1, text: 'One', slug: 'one' },
    { level: 2, text: 'Two, and more', slug: 'two-and-more' },
  ]);
});

test('code has no headings', () => {
  assert.deepEqual(headings('````\n# no\n```\n# no\n````\n# yes\n~~~\n# no\n').map(({ text }) => text), ['yes']);
});

test('what looks like a heading and is none', () => {
  assert.deepEqual(headings('#no\n####### seven\n    # indented\n\\# escaped\n'), []);
});

test('the same heading twice has two links', () => {
  assert.deepEqual(headings('# A\n# A\n# A\n').map(({ slug }) => slug), ['a', 'a-1', 'a-2']);
});

test('slugs keep letters of all languages', () => {
  assert.equal(slug('Größe & `Gewicht`: 10 %'), 'größe--gewicht-10-');
});

test('contents are nested and end at a depth', () => {
  const markdown = '## A\n### B\n#### C\n## D\n';
  assert.equal(contents(markdown), '- [A](#a)\n  - [B](#b)\n- [D](#d)\n');
  assert.equal(contents(markdown, { depth: 2 }), '- [A](#a)\n- [D](#d)\n');
  assert.equal(contents('no heading'), '');
});
