"""Routes, and a running service over a real connection: `python3 -m unittest discover`."""

import http.client
import threading
import unittest

from service import NAME
from service.app import make_server, route


class RouteTest(unittest.TestCase):
    def test_routes(self):
        self.assertEqual(route("/healthz"), (200, "ok\n"))
        self.assertIn(NAME, route("/")[1])
        self.assertEqual(route("/nowhere")[0], 404)


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.server = make_server(("127.0.0.1", 0))
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ask(self, method, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        self.addCleanup(connection.close)
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()

    def test_is_healthy(self):
        self.assertEqual(self.ask("GET", "/healthz?verbose"), (200, b"ok\n"))

    def test_head_has_no_body_and_other_methods_are_refused(self):
        self.assertEqual(self.ask("HEAD", "/"), (200, b""))
        self.assertEqual(self.ask("DELETE", "/")[0], 501)


if __name__ == "__main__":
    unittest.main()
