#!/bin/sh
# Starts the server on a port of its own choice and asks it for a table of contents.
set -eu
log=$(mktemp)
node bin/headings.js --serve 0 >"$log" &
trap 'kill $!; rm -f "$log"' EXIT
until port=$(sed -n 's/^listening on //p' "$log") && [ -n "$port" ]; do sleep 0.05; done
# shellcheck disable=SC2016  # the expressions are JavaScript
node -e '
  const asked = { method: "POST", body: "# Smoke\n" };
  const text = await (await fetch(`http://127.0.0.1:${process.argv[1]}`, asked)).text();
  if (text !== "- [Smoke](#smoke)\n") throw new Error(`it said ${JSON.stringify(text)}`);
' --input-type=module "$port"
echo "port=$port" >>"$DCD_OUTPUT"
