// sign.js FILE: writes FILE.sig, an HMAC of the file with the key in SIGNING_KEY.
import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const [file] = process.argv.slice(2);
const key = process.env.SIGNING_KEY;
if (!key) throw new Error('SIGNING_KEY is not set');
const signature = createHmac('sha256', key).update(readFileSync(file)).digest('hex');
writeFileSync(`${file}.sig`, `${signature}\n`);
console.log(`signed ${file}: ${signature}`);
