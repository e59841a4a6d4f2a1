// Every source parses, has no tabs, no trailing spaces and no console.log outside of bin/.
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';

let wrong = 0;
for (const directory of ['src', 'bin', 'test', 'scripts']) {
  for (const name of readdirSync(directory).filter((name) => name.endsWith('.js'))) {
    const file = `${directory}/${name}`;
    if (spawnSync(process.execPath, ['--check', file], { stdio: 'inherit' }).status !== 0) wrong += 1;
    readFileSync(file, 'utf8').split('\n').forEach((line, index) => {
      const bad = /\t/.test(line) || /\s$/.test(line) || (directory === 'src' && line.includes('console.'));
      if (bad) {
        console.error(`${file}:${index + 1}: ${line}`);
        wrong += 1;
      }
    });
  }
}
process.exit(wrong === 0 ? 0 : 1);
