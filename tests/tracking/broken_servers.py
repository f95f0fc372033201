"""Servers that do not work, or not always. Each yields its port."""

import socket
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from rm_tension.tracking.command import free_port

PATIENCE = 300  # seconds; for the real server behind a gate


@contextmanager
def down():
    yield free_port()


@contextmanager
def hanging():
    """Accepts and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


@contextmanager
def gate(target, shut):
    """The way to a server, which answers 500 while it is shut, as one whose disk is full."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if shut.is_set():
                self.send_error(500)
                return
            kind = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            answer = requests.request(
                self.command, target + self.path, data=body, headers=kind, timeout=PATIENCE
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PATCH = forward  # noqa: N815 (names of http.server)

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd.server_address[1]
        httpd.shutdown()


@contextmanager
def failing():
    shut = threading.Event()
    shut.set()
    with gate("", shut) as port:
        yield port
