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
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
import urllib3

from rm_tension.base.errors import UserError
from rm_tension.base.lockfile import file_md5
from rm_tension.deposit.objects import InterruptedTarError

T = TypeVar("T")

ZENODO = "https://zenodo.org"
TOKEN = "ZENODO_TOKEN"  # noqa: S105  the name of an environment variable
DELAYS = (2.0, 10.0, 30.0, 60.0)  # seconds before each further try; Zenodo counts by the minute
LONGEST = 120.0  # seconds that a server may ask us to wait
TIMEOUT = (30.0, 600.0)  # seconds to connect, and between two bytes: hashing 50 GB takes minutes
# Zenodo gives records in its old form without it; files have the second form only
ACCEPT = "application/vnd.inveniordm.v1+json, application/json;q=0.9"
LOCAL = ("127.0.0.1", "localhost", "::1")


class TransientError(Exception):
    """An error that may pass: time-outs, broken connections, 429 and 5xx.

    `wait` is how many seconds the server asks for.
    """

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class _Bearer(requests.auth.AuthBase):
    """As an AuthBase, or requests would prefer what ~/.netrc has for the server."""

    token: str | None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class Server:
    """The API of one server; `writes` says that the token is needed."""

    def __init__(self, url: str, *, writes: bool = False) -> None:
        self.url = url.rstrip("/")
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:
            raise UserError(f"{url}: not an address ({error})") from None
        if not parts.hostname or (parts.scheme != "https" and parts.hostname not in LOCAL):
            raise UserError(f"{url}: not an https:// address")
        self._token = os.environ.get(TOKEN, "").strip() if writes else None
        if writes and not self._token:
            raise UserError(
                f"{TOKEN}: not set; make a token with the scope deposit:write at {self.url}"
                "/account/settings/applications and put it into this environment variable"
            )
        if self._token and not re.fullmatch("[!-~]+", self._token):
            raise UserError(f"{TOKEN}: has letters or spaces that no token has; copy it again")
        self._session = requests.Session()
        self._session.auth = _Bearer(self._token)
        self._session.headers["Accept"] = ACCEPT

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Return the JSON of a reply, None of an empty one.

        Raise TransientError for what may pass, UserError for what the server refuses.
        """
        with self._replied(method, path, **body) as reply:
            try:
                return reply.json() if reply.content else None
            except (requests.exceptions.RequestException, ValueError) as error:
                raise TransientError(f"{method} {path}: {error}") from None

    @contextmanager
    def stream(self, path: str, first: int) -> Iterator[tuple[IO[bytes], int]]:
        """Yield a file's bytes from `first` on, or from 0 if the server does not do that.

        Raise InterruptedTarError if they break off.
        """
        headers = {"Range": f"bytes={first}-", "Accept": "*/*", "Accept-Encoding": "identity"}
        options = {"headers": headers, "stream": True, "allow_redirects": True}
        with self._replied("GET", path, **options) as reply:
            try:
                yield reply.raw, first if reply.status_code == HTTPStatus.PARTIAL_CONTENT else 0
            except urllib3.exceptions.HTTPError as error:
                raise InterruptedTarError(f"{type(error).__name__}: {error}") from None

    @contextmanager
    def _replied(self, method: str, path: str, **options: Any) -> Iterator[requests.Response]:
        settings: dict[str, Any] = {"timeout": TIMEOUT, "allow_redirects": False} | options
        try:
            reply = self._session.request(method, self.url + path, **settings)
        except requests.exceptions.RequestException as error:
            raise TransientError(f"{method} {path}: {type(error).__name__}") from None
        with reply:
            self._refuse(reply, f"{method} {path}")
            yield reply

    def _refuse(self, reply: requests.Response, request: str) -> None:
        status = reply.status_code or 0
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return
        said = self._said(reply)
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TransientError(f"{request}: {status} {said}", _wait(reply.headers))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            said += f"; the token in {TOKEN} is refused: it needs the scope deposit:write"
        raise RefusedError(f"{self.url}: {request}: {status} {said}", status)

    def _said(self, reply: requests.Response) -> str:
        """Return what the server says of an error, without the token if it repeats that."""
        try:
            body = reply.json()
            errors = [
                f"{error.get('field')}: {' '.join(error.get('messages', ()))}"
                for error in body.get("errors", ())
            ]
            said = "; ".join([str(body.get("message", "")), *errors])
        except (ValueError, AttributeError, TypeError, requests.exceptions.RequestException):
            said = reply.reason or ""
        return said.replace(self._token, "...") if self._token else said


class RefusedError(UserError):
    """A server says no; `status` is HTTP's."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def _wait(headers: Mapping[str, str]) -> float:
    """Return the seconds that a server asks to wait, in either way of saying it."""
    for name, start in (("Retry-After", 0.0), ("X-RateLimit-Reset", time.time())):
        if re.fullmatch(r"\d+", value := headers.get(name, "")):
            return min(max(0.0, float(value) - start), LONGEST)
    return 0.0


def patiently(step: Callable[[], T], what: str) -> T:
    """Return the result of a step that may be done twice; try again what may pass.

    Raise UserError if it does not pass.
    """
    for delay in (*DELAYS, None):
        try:
            return step()
        except (TransientError, InterruptedTarError) as error:
            if delay is None:
                raise UserError(f"{what}: {error}; the same command goes on from there") from error
            seconds = max(delay, getattr(error, "wait", 0.0))
            print(f"{what}: {error}; again in {seconds:g} s", flush=True)
            time.sleep(seconds)
    raise AssertionError  # never: the last try returns or raises


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
        except TransientError as error:
            raise UserError(
                f"{server.url}: {error}; if there is a new draft at {server.url}/me/uploads, "
                "go on with it: --draft ID, else the same command again"
            ) from error

    def read(self) -> dict[str, Any]:
        """Return the draft; raise UserError if it is none, or no longer."""
        try:
            draft: dict[str, Any] = patiently(
                lambda: self.server.call("GET", self._path), f"draft {self.id}"
            )
        except RefusedError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise
            raise UserError(
                f"{self.server.url}: {self.id} is no draft of yours; if it is published, make a "
                "new version on its page and `rm-tension deposit reserve --draft ID`"
            ) from error
        return draft

    def doi(self) -> str:
        """Return the draft's DOI, reserved if it has none."""
        if not (doi := _doi_of(self.read())):
            patiently(self._reserve, "DOI")
            doi = _doi_of(self.read())
        if not doi:
            raise UserError(f"{self.page}: the server reserves no DOI; do so on that page")
        return doi

    def _reserve(self) -> None:
        try:
            self.server.call("POST", f"{self._path}/pids/doi")
        except RefusedError as error:
            if error.status != HTTPStatus.BAD_REQUEST or not _doi_of(self.read()):
                raise  # 400 with a DOI: an earlier reply was lost

    def note(self, version: str, html: str) -> None:
        """Set the version and the technical note; what a person wrote beside them stays."""
        draft = self.read()
        metadata = draft["metadata"]
        others = [
            description
            for description in metadata.get("additional_descriptions", [])
            if description.get("type", {}).get("id") != "technical-info"
        ]
        ours = {"description": html, "type": {"id": "technical-info"}}
        metadata |= {"version": version, "additional_descriptions": [*others, ours]}
        # without its DOI in "pids" the draft would lose it
        kept = ("access", "files", "pids", "custom_fields")
        body = {key: draft[key] for key in kept if key in draft} | {"metadata": metadata}
        patiently(lambda: self.server.call("PUT", self._path, json=body), f"draft {self.id}")

    def send(self, path: Path) -> bool:
        """Send a file unless the draft has it whole; return whether it was sent."""
        md5 = f"md5:{file_md5(path)}"
        return patiently(lambda: self._send(path, md5), path.name)

    def names(self) -> list[str]:
        """Return the names of the draft's files, whole or not."""
        return list(patiently(self._entries, f"draft {self.id}"))

    def _send(self, path: Path, md5: str) -> bool:
        """Send a file from its beginning: a server knows no half of it."""
        there = self._entries().get(path.name)
        if there and (there.get("status"), there.get("checksum")) == ("completed", md5):
            return False
        file = f"{self._path}/files/{quote(path.name, safe='')}"
        if there:
            self.server.call("DELETE", file)
        self.server.call("POST", f"{self._path}/files", json=[{"key": path.name}])
        with path.open("rb") as content:
            headers = {"Content-Type": "application/octet-stream"}
            self.server.call("PUT", f"{file}/content", data=content, headers=headers)
        received = self.server.call("POST", f"{file}/commit").get("checksum")
        if received != md5:
            raise TransientError(f"arrived with {received}, sent with {md5}")
        return True

    def _entries(self) -> dict[str, dict[str, Any]]:
        files = self.server.call("GET", f"{self._path}/files")
        return {entry["key"]: entry for entry in files["entries"]}


def _doi_of(draft: Mapping[str, Any]) -> str | None:
    doi: str | None = draft.get("pids", {}).get("doi", {}).get("identifier") or draft.get("doi")
    return doi


def files_of(server: Server, id_: str) -> dict[str, int]:
    """Return the files of a published record with their bytes."""
    path = f"/api/records/{quote(id_, safe='')}/files"
    entries = patiently(lambda: server.call("GET", path), f"record {id_}")["entries"]
    return {entry["key"]: int(entry["size"]) for entry in entries}
