"""A Hugging Face hub of a few requests on this machine: what a client needs that makes repositories and commits."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LocalHub(ThreadingHTTPServer):
    """`repos`: the files of each repository; `requests`: what was asked; `refused`: names whose commits fail."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.refused: set[str] = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: LocalHub

    def do_GET(self):
        self.server.requests.append(("GET", self.path))
        self.reply(200, {"id": self.path.removeprefix("/api/models/"), "sha": "1" * 40})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(("POST", self.path))
        assert self.headers["Authorization"] == "Bearer a-token"
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            repo = f"{wanted['organization']}/{wanted['name']}"
            status = 409 if repo in self.server.repos else 200
            self.server.repos.setdefault(repo, {})
            self.reply(status, {"url": f"{self.server.url}/{repo}"})
        elif self.path == "/api/validate-yaml":
            self.reply(200, {"warnings": [], "errors": []})
        elif "/preupload/" in self.path:
            there = self.server.repos[self.path.split("/api/models/")[1].split("/preupload/")[0]]
            files = []
            for file in json.loads(body)["files"]:
                content = there.get(file["path"])
                known = {"oid": git_oid(content)} if content is not None else {}
                files.append(
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, **known}
                )
            self.reply(200, {"files": files})
        else:
            repo = self.path.removeprefix("/api/models/").removesuffix("/commit/main")
            if repo.partition("/")[2] in self.server.refused:
                self.reply(403, {"error": "no"})
                return
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.repos[repo][line["value"]["path"]] = base64.b64decode(
                        line["value"]["content"]
                    )
            self.reply(
                200,
                {"commitUrl": f"{self.server.url}/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40},
            )

    def reply(self, status, value, **headers):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def git_oid(content):
    """Return the name that git gives a file's content."""
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


@contextmanager
def local_hub():
    """One that runs for as long as the block."""
    with LocalHub() as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
