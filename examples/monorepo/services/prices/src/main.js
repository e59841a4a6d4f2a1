// main.js [PORT]: serves prices; with no port, on a free one, which it prints.
import { server } from './prices.js';

const listening = server().listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  console.log(listening.address().port);
});
