import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../bin/headings.js', import.meta.url));

function run(args, input = '') {
  return spawnSync(process.execPath, [program, ...args], { input, encoding: 'utf8' });
}

test('it reads standard input', () => {
  assert.equal(run([], '# A\n').stdout, '- [A](#a)\n');
});

test('it reads a file', () => {
  assert.match(run(['--depth', '1', 'README.md']).stdout, /^- \[/);
});

test('a wrong depth is said', () => {
  const { status, stderr } = run(['--depth', '9']);
  assert.equal(status, 2);
  assert.match(stderr, /a number from 1 to 6, not 9/);
});
