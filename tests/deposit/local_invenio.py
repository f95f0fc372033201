"""An InvenioRDM server of a few requests on this machine, which fails when it is told to."""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from checkout import running

TOKEN = "a-token-that-nobody-may-see"  # noqa: S105
DRAFT = r"/api/records/(?P<id>\w+)/draft"
ROUTES = [
    ("POST", "/api/records", "create"),
    ("GET", DRAFT, "read"),
    ("POST", f"{DRAFT}/pids/doi", "reserve"),
    ("GET", f"{DRAFT}/files", "list_files"),
    ("POST", f"{DRAFT}/files", "start_file"),
    ("DELETE", f"{DRAFT}/files/(?P<name>[^/]+)", "delete_file"),
    ("PUT", f"{DRAFT}/files/(?P<name>[^/]+)/content", "receive"),
    ("POST", f"{DRAFT}/files/(?P<name>[^/]+)/commit", "commit"),
    ("GET", r"/api/records/(?P<id>\w+)/files/(?P<name>[^/]+)/content", "download"),
]
PUBLIC = ("download",)


class LocalInvenio(ThreadingHTTPServer):
    """`drafts`: by id; `done`: requests in order; `faults`: what goes wrong next, by request.

    A fault is a status, `hang` (no reply), `lost` (done, but the reply is lost), `half` (the
    connection ends within the content) or `corrupt` (one bit).
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.drafts: dict[str, dict] = {}
        self.published: dict[str, dict] = {}
        self.done: list[str] = []
        self.faults: dict[str, list] = {}
        self.released = threading.Event()  # of requests that hang

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def publish(self, id_):
        """Do what only a person does."""
        self.published[id_] = self.drafts.pop(id_)

    def handle_error(self, request, client_address):
        pass  # connections that a fault has closed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalInvenio

    def do_GET(self):
        routes = [
            (name, re.fullmatch(path, self.path)) for m, path, name in ROUTES if m == self.command
        ]
        name, match = next((route for route in routes if route[1]), (None, None))
        if not match:
            return self.reply(404, {"message": "no such address"})
        self.server.done.append(name)
        faults = self.server.faults.get(name, [])
        self.fault = faults.pop(0) if faults else None
        body = self.body()
        if name not in PUBLIC and self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.reply(403, {"message": f"{self.headers['Authorization']} may not"})
        if isinstance(self.fault, int):
            return self.reply(self.fault, {"message": "a fault"}, **{"Retry-After": "3"})
        if self.fault == "hang":
            self.server.released.wait(30)
            raise ConnectionError
        status, value = getattr(self, name)(body, **match.groupdict())
        if self.fault == "lost":
            self.close_connection = True
            return self.connection.close()
        return self.reply(status, value) if name != "download" or status != 200 else None

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def body(self):
        size = int(self.headers.get("Content-Length", 0))
        if self.fault == "half" and self.command == "PUT":
            self.rfile.read(size // 2)
            self.connection.close()
            raise ConnectionError
        content = bytearray(self.rfile.read(size))
        if self.fault == "corrupt":
            content[size // 2] ^= 1
        return bytes(content)

    def create(self, body):
        id_ = f"a{len(self.server.drafts) + 1}"
        self.server.drafts[id_] = {**json.loads(body), "id": id_, "pids": {}, "entries": {}}
        return self.read(None, id_)

    def read(self, _, id):
        if id not in self.server.drafts:
            return 404, {"message": "The persistent identifier does not exist."}
        return 200, {k: v for k, v in self.server.drafts[id].items() if k != "entries"}

    def reserve(self, _, id):
        pids = self.server.drafts[id]["pids"]
        if pids:
            return 400, {"message": "A PID already exists for type doi"}
        pids["doi"] = {"identifier": f"10.1234/local.{id}", "provider": "datacite"}
        return 201, {}

    def list_files(self, _, id):
        return 200, {"entries": [shown(*item) for item in self.entries(id).items()]}

    def start_file(self, body, id):
        (name,) = (file["key"] for file in json.loads(body))
        if name in self.entries(id):
            return 400, {"message": f"File with key {name} already exists."}
        self.entries(id)[name] = {"status": "pending", "content": None}
        return 201, {}

    def delete_file(self, _, id, name):
        del self.entries(id)[name]
        return 204, {}

    def receive(self, body, id, name):
        self.entries(id)[name]["content"] = body
        return 200, {}

    def commit(self, _, id, name):
        self.entries(id)[name]["status"] = "completed"
        return 200, shown(name, self.entries(id)[name])

    def entries(self, id):
        return self.server.drafts[id]["entries"]

    def download(self, _, id, name):
        if name not in self.server.published.get(id, {}).get("entries", {}):
            return 404, {"message": "The persistent identifier does not exist."}
        content = self.server.published[id]["entries"][name]["content"]
        first = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
        self.server.done[-1] += f" from {first}"
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        end = (first + len(content)) // 2 if self.fault == "half" else len(content)
        self.wfile.write(content[first:end])
        if self.fault == "half":
            self.wfile.flush()
            self.close_connection = True
        return 200, None

    def reply(self, status, value, **headers):
        body = b"" if status == 204 else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def shown(name, entry):
    """Return a file as the API does; only a complete one has a checksum."""
    view = {"key": name, "status": entry["status"]}
    if entry["status"] == "completed":
        md5 = hashlib.md5(entry["content"], usedforsecurity=False).hexdigest()
        view["checksum"] = f"md5:{md5}"
    return view


@contextmanager
def local_invenio():
    """One that runs for as long as the block."""
    with running(LocalInvenio()) as server:
        yield server
        server.released.set()
