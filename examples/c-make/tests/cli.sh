#!/bin/sh
# cli.sh PROGRAM: what goes in comes out again.
set -eu
b32=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ "$(printf foobar | "$b32")" = MZXW6YTBOI====== ]
head -c 100000 /dev/urandom >"$work/in"
"$b32" <"$work/in" >"$work/text"
"$b32" -d <"$work/text" | cmp - "$work/in"
if echo 'not base32' | "$b32" -d 2>/dev/null; then exit 1; fi
if "$b32" --nonsense 2>/dev/null; then exit 1; fi
echo "ok   cli"
