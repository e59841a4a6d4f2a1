"""POST /orders with {"items": ["pen", "pen", "desk"]} answers {"cents": ...}, with prices from another service."""

import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DISCOUNT_FROM = 10


class UnknownItem(Exception):
    pass


def total(items, price):
    """The sum of the items; ten or more of a kind cost a tenth less, rounded in the buyer's favour."""
    cents = 0
    for item, count in Counter(items).items():
        cost = price(item) * count
        if count >= DISCOUNT_FROM:
            cost -= -(-cost // 10)
        cents += cost
    return cents


def price_of(origin):
    def price(item):
        try:
            with urllib.request.urlopen(f"{origin}/prices/{item}", timeout=5) as answer:
                return json.load(answer)["cents"]
        except urllib.error.HTTPError as error:
            with error:
                raise UnknownItem(item) from error

    return price


def handler(price):
    class Orders(BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.answer(200, {"cents": total(asked["items"], price)})
            except UnknownItem as error:
                self.answer(422, {"error": f"there is no {error}"})
            except (KeyError, TypeError, ValueError):
                self.answer(400, {"error": "send {\"items\": [...]}"})

        def answer(self, status, document):
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Orders


def serve(prices, port=0):
    return ThreadingHTTPServer(("127.0.0.1", port), handler(price_of(prices)))


if __name__ == "__main__":
    server = serve(sys.argv[1])
    print(server.server_port, flush=True)
    server.serve_forever()
