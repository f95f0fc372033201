"""Drafts of records on Zenodo or another InvenioRDM server, by its REST API.

The API is InvenioRDM's own (/api/records), which Zenodo runs, and not the legacy
/api/deposit/depositions: it says of each file whether it is complete and which md5 it has, and it
holds for other institutions' servers, too.

No address that a server names is followed, so the token goes to that server alone.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

import requests
import urllib3

from rm_tension.base.errors import UserError
from rm_tension.base.lockfile import file_md5

T = TypeVar("T")

ZENODO = "https://zenodo.org"
ADDRESS = re.compile(r"(https://[\w.-]+|http://(localhost|127\.0\.0\.1))(:\d+)?(/[\w./-]*)?")
TOKEN = "ZENODO_TOKEN"  # noqa: S105  the name of an environment variable
DELAYS = (2.0, 10.0, 30.0, 60.0)  # seconds before each further try; Zenodo counts by the minute
TIMEOUT = (30.0, 600.0)  # seconds to connect, and between two bytes: hashing 50 GB takes minutes
# Zenodo gives records in its old form without it; files have the second form only
ACCEPT = "application/vnd.inveniordm.v1+json, application/json;q=0.9"
AGAIN = "the same command goes on from there"
SHOWN = 500  # letters of what a server says of an error
# Errors that may pass: time-outs, broken connections, 429 and 5xx, a download that breaks off
TRANSIENT = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, EOFError)


class RefusedError(UserError):
    """A server says no; `status` is HTTP's."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class Server:
    """The API of one server; `writes` says that the token is needed."""

    def __init__(self, url: str, *, writes: bool = False) -> None:
        self.url = url.rstrip("/")
        if not ADDRESS.fullmatch(self.url):
            raise UserError(f"{url}: not an https:// address")
        self._token = os.environ.get(TOKEN, "").strip() if writes else ""
        if writes and not re.fullmatch("[!-~]+", self._token):
            raise UserError(
                f"{TOKEN}: not set, or no token; make one with the scope deposit:write at "
                f"{self.url}/account/settings/applications and put it into this variable"
            )
        self._session = requests.Session()
        self._session.auth = self._authorised  # without it, what ~/.netrc has would be sent
        self._session.headers["Accept"] = ACCEPT

    def _authorised(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Return the JSON of a reply, None of an empty one.

        Raise one of TRANSIENT for what may pass, RefusedError for what the server refuses.
        """
        with self._reply(method, path, **body) as reply:
            return reply.json() if reply.content else None

    @contextmanager
    def stream(self, path: str, first: int) -> Iterator[tuple[IO[bytes], int]]:
        """Yield a file's bytes from `first` on, or from 0 if the server does not do that."""
        headers = {"Range": f"bytes={first}-", "Accept": "*/*", "Accept-Encoding": "identity"}
        options = {"headers": headers, "stream": True, "allow_redirects": True}
        with self._reply("GET", path, **options) as reply:
            yield reply.raw, first if reply.status_code == HTTPStatus.PARTIAL_CONTENT else 0

    def _reply(self, method: str, path: str, **options: Any) -> requests.Response:
        settings: dict[str, Any] = {"timeout": TIMEOUT, "allow_redirects": False} | options
        reply = self._session.request(method, self.url + path, **settings)
        status = reply.status_code
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return reply
        message = f"{method} {path}: {status} {reply.reason} {reply.text[:SHOWN]}"
        if self._token:
            message = message.replace(self._token, "...")
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise requests.HTTPError(message)
        if self._token and status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            message += f"; the token in {TOKEN} is refused: it needs the scope deposit:write"
        raise RefusedError(f"{self.url}: {message}", status)


def patiently(step: Callable[[], T], what: str, remedy: str = AGAIN) -> T:
    """Return the result of a step that may be done twice; try again what may pass.

    Raise UserError, which says `remedy`, if it does not pass.
    """
    for delay in DELAYS:
        try:
            return step()
        except TRANSIENT as error:
            print(f"{what}: {error}; again in {delay:g} s", flush=True)
            time.sleep(delay)
    try:
        return step()
    except TRANSIENT as error:
        raise UserError(f"{what}: {error}; {remedy}") from error


class Draft:
    """One draft of a record. Nothing here publishes it."""

    def __init__(self, server: Server, id_: str) -> None:
        self.server, self.id = server, id_
        self._path = f"/api/records/{quote(id_, safe='')}/draft"

    @property
    def page(self) -> str:
        """Return where a person looks at the draft and publishes it."""
        return f"{self.server.url}/uploads/{self.id}"

    @staticmethod
    def create(server: Server, metadata: Mapping[str, Any]) -> "Draft":
        """Make a draft. It is not tried again: a lost reply would leave an empty draft."""
        access = {"record": "public", "files": "public"}
        body = {"access": access, "files": {"enabled": True}, "metadata": metadata}
        try:
            return Draft(server, str(server.call("POST", "/api/records", json=body)["id"]))
        except TRANSIENT as error:
            raise UserError(
                f"{server.url}: {error}; if there is a new draft at {server.url}/me/uploads, "
                "go on with it: --draft ID, else the same command again"
            ) from error

    def doi(self, remedy: str = AGAIN) -> str:
        """Return the draft's DOI, reserved if it has none; raise UserError if it is no draft.

        `remedy` is how to go on after any other error.
        """
        try:
            return patiently(self._reserved_doi, f"draft {self.id}", remedy)
        except RefusedError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise UserError(f"{error}; {remedy}") from error
            raise UserError(
                f"{self.server.url}: {self.id} is no draft of yours; if it is published, make a "
                "new version on its page and `rm-tension deposit reserve --draft ID`"
            ) from error

    def _reserved_doi(self) -> str:
        """Reserve a DOI unless there is one: the reply to an earlier try may be lost."""
        if not self._doi():
            self.server.call("POST", f"{self._path}/pids/doi")
        if not (doi := self._doi()):
            raise UserError(
                f"{self.page}: the server reserves no DOI; do so on that page, then "
                f"`rm-tension deposit reserve --draft {self.id}`"
            )
        return doi

    def _doi(self) -> str:
        draft = self.server.call("GET", self._path)
        return str(draft.get("pids", {}).get("doi", {}).get("identifier") or draft.get("doi", ""))

    def send(self, path: Path) -> bool:
        """Send a file unless the draft has it whole; return whether it was sent."""
        return patiently(partial(self._send, path, f"md5:{file_md5(path)}"), path.name)

    def _send(self, path: Path, md5: str) -> bool:
        """Send a file from its beginning: a server knows no half of it."""
        files = f"{self._path}/files"
        file = f"{files}/{quote(path.name, safe='')}"
        for entry in self.server.call("GET", files)["entries"]:
            if entry["key"] == path.name:
                if (entry.get("status"), entry.get("checksum")) == ("completed", md5):
                    return False
                self.server.call("DELETE", file)
        self.server.call("POST", files, json=[{"key": path.name}])
        with path.open("rb") as content:
            headers = {"Content-Type": "application/octet-stream"}
            self.server.call("PUT", f"{file}/content", data=content, headers=headers)
        received = self.server.call("POST", f"{file}/commit").get("checksum")
        if received != md5:
            raise requests.HTTPError(f"arrived with {received}, sent with {md5}")
        return True
