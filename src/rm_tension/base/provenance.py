"""What was loaded, recorded where it is: a report shows this, not what params.yaml asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LoadedFile:
    """A file that came from the hub or its cache; `size` in bytes, `sha256` in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """Files of a repository: `revision` was asked for, `commit` is what the hub resolved it to."""

    repo: str
    revision: str
    commit: str
    files: list[LoadedFile]


@dataclass(frozen=True)
class LoadedWeights:
    """models/<profile>/provenance/<backbone>.json; `hub` is None for randomly drawn weights.

    `stand_ins` is what the profile says of files that it takes for official ones. With None, the
    commit of the hub says what was loaded.
    """

    hub: Snapshot | None
    stand_ins: str | None


@dataclass(frozen=True)
class DataFile:
    """An entry of `files` in data/<profile>/provenance.json; `commit` is None for a generated file.

    `rows` are counts by source of HH-RLHF or by subset of a benchmark. `official`: the rows and,
    where it is known, the sha256 are the expected ones.
    """

    repo: str
    revision: str
    commit: str | None
    filename: str
    sha256: str
    official: bool
    rows: dict[str, int]


@dataclass(frozen=True)
class LoadedData:
    """data/<profile>/provenance.json; `stand_ins`: what was taken for official files."""

    stand_ins: str | None
    files: list[DataFile]


@dataclass(frozen=True)
class Provenance:
    """results/<profile>/provenance.json: the data files of the hub, and the weights by backbone."""

    data: list[DataFile]
    backbones: dict[str, LoadedWeights]
