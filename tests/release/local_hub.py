"""A Hugging Face hub of a few requests on this machine: what a client needs that makes repositories and commits."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LocalHub(ThreadingHTTPServer):
    """`repos`: the files of each repository, a data set's under datasets/OWNER/NAME; `requests`:
    what was asked; `refused`: names whose commits fail; `collections`: by slug, their items.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.refused: set[str] = set()
        self.collections: dict[str, list[dict[str, str]]] = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: LocalHub

    def do_GET(self):
        self.server.requests.append(("GET", self.path))
        slug = self.path.removeprefix("/api/collections/")
        if slug in self.server.collections:
            self.reply(200, self.collection(slug))
        else:
            self.reply(200, {"id": self.path.removeprefix("/api/models/"), "sha": "1" * 40})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(("POST", self.path))
        assert self.headers["Authorization"] == "Bearer a-token"
        if self.path == "/api/repos/create":
            self.create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self.reply(200, {"warnings": [], "errors": []})
        elif self.path.startswith("/api/collections"):
            self.collect(json.loads(body))
        else:
            kind, owner, name, action = self.path.removeprefix("/api/").split("/")[:4]
            repo = f"{'datasets/' * (kind == 'datasets')}{owner}/{name}"
            if action == "preupload":
                self.preupload(self.server.repos[repo], json.loads(body))
            elif name in self.server.refused:
                self.reply(403, {"error": "no"})
            else:
                self.commit(repo, map(json.loads, body.splitlines()))

    def create(self, wanted):
        kind = "datasets/" * (wanted.get("type") == "dataset")
        repo = f"{kind}{wanted['organization']}/{wanted['name']}"
        status = 409 if repo in self.server.repos else 200
        self.server.repos.setdefault(repo, {})
        self.reply(status, {"url": f"{self.server.url}/{repo}"})

    def preupload(self, there, wanted):
        files = []
        for file in wanted["files"]:
            content = there.get(file["path"])
            known = {"oid": git_oid(content)} if content is not None else {}
            files.append(
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, **known}
            )
        self.reply(200, {"files": files})

    def commit(self, repo, lines):
        for line in lines:
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.server.repos[repo][line["value"]["path"]] = content
        url = f"{self.server.url}/{repo}/commit/{'1' * 40}"
        self.reply(200, {"commitUrl": url, "commitOid": "1" * 40})

    def collect(self, wanted):
        """Make a collection, or add to one; 409 for what is there, as the hub does."""
        if self.path == "/api/collections":
            slug = f"{wanted['namespace']}/{wanted['title'].lower()}-{'0' * 24}"
            status = 409 if slug in self.server.collections else 200
            self.server.collections.setdefault(slug, [])
            self.reply(status, self.collection(slug))
            return
        slug = self.path.removeprefix("/api/collections/").removesuffix("/items")
        items = self.server.collections[slug]
        status = 409 if wanted["item"] in items else 200
        if status == 200:
            items.append(wanted["item"])
        self.reply(status, self.collection(slug))

    def collection(self, slug):
        items = [
            {"_id": str(position), "position": position, **item}
            for position, item in enumerate(self.server.collections[slug])
        ]
        owner, title = slug.split("/")
        known = {"slug": slug, "title": title, "owner": owner, "items": items, "position": 0}
        known |= {"lastUpdated": "2026-01-01T00:00:00.000Z", "private": False, "theme": "blue"}
        return known | {"upvotes": 0}

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def git_oid(content):
    """Return the name that git gives a file's content."""
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()
