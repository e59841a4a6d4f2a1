"""Starts both services and orders something."""

import json
import subprocess
import sys
import urllib.request


def start(*command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, f"http://127.0.0.1:{process.stdout.readline().strip()}"


prices, prices_at = start("node", "services/prices/src/main.js")
orders, orders_at = start(sys.executable, "services/orders/orders.py", prices_at)
try:
    body = json.dumps({"items": ["pen"] * 10 + ["desk"]}).encode()
    with urllib.request.urlopen(f"{orders_at}/orders", body, timeout=10) as answer:
        got = json.load(answer)
finally:
    for process in (orders, prices):
        process.terminate()
        process.wait()
        process.stdout.close()
if got != {"cents": 1080 + 24900}:
    sys.exit(f"together: the order costs {got}")
print(f"together: {got['cents']} cents")
