"""Answers HTTP requests; add your routes to `route`."""

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from service import NAME


def route(path):
    """The status and text to answer a request for `path` with."""
    if path == "/healthz":
        return HTTPStatus.OK, "ok\n"
    if path == "/":
        return HTTPStatus.OK, f"hello from {NAME}\n"
    return HTTPStatus.NOT_FOUND, "not found\n"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = 10

    def do_GET(self):
        status, text = route(self.path.partition("?")[0])
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format, *args):
        print(f"{self.address_string()} {format % args}", flush=True)


def make_server(address):
    """A server that listens on `address` and waits for `serve_forever`."""
    return ThreadingHTTPServer(address, Handler)
