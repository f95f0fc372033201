"""Fetch the records of runs that somebody else computed."""

import os
from pathlib import Path

from dvc.api import DVCFileSystem

from rm_tension.base.errors import UserError
from rm_tension.base.files import whole


def pull(folders: list[str]) -> None:
    """Copy here, from DVC's cache or its remote, what somebody has made of these folders and is not here.

    Raises UserError that names what cannot be had. `dvc pull` reads dvc.yaml again for each target, which takes
    minutes, and `dvc repro --pull` leaves out what no later stage reads.
    """
    files = DVCFileSystem(".")
    for folder in folders:
        wanted = folder
        try:
            for name, entry in (
                files.find(folder, detail=True).items() if files.isdir(folder) else ()
            ):
                if entry.get("dvc_info", {}).get("md5") and not Path(name).exists():
                    wanted = name
                    # `name` may be a link to what the cache has no longer, through which DVC would write there
                    with whole(Path(name)) as partial:
                        files.get_file(name, os.fspath(partial))
        except Exception as error:  # of HTTP, S3 and file systems, which share no other base
            raise UserError(
                f"{wanted}: could not be pulled ({error}); is there a remote? (docs/CACHE.md)"
            ) from error
