import json
import threading
import unittest
import urllib.error
import urllib.request

from orders import UnknownItem, handler, total
from http.server import ThreadingHTTPServer

PRICES = {"pen": 120, "cap": 7}


def price(item):
    if item not in PRICES:
        raise UnknownItem(item)
    return PRICES[item]


class Total(unittest.TestCase):
    def test_items_are_summed_up(self):
        self.assertEqual(total([], price), 0)
        self.assertEqual(total(["pen", "cap", "pen"], price), 247)

    def test_many_of_a_kind_cost_less(self):
        self.assertEqual(total(["pen"] * 9, price), 1080)
        self.assertEqual(total(["pen"] * 10, price), 1080)
        self.assertEqual(total(["cap"] * 11, price), 69)

    def test_what_nobody_sells_is_an_error(self):
        with self.assertRaises(UnknownItem):
            total(["car"], price)


class Http(unittest.TestCase):
    def setUp(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(price))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def post(self, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.server_port}/orders", body.encode())
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def test_orders_are_answered(self):
        self.assertEqual(self.post('{"items": ["pen", "cap"]}'), (200, {"cents": 127}))
        self.assertEqual(self.post('{"items": ["car"]}'), (422, {"error": "there is no car"}))
        self.assertEqual(self.post("[]")[0], 400)
        self.assertEqual(self.post("nonsense")[0], 400)
