"""Checkpoints that somebody published on the Hugging Face hub: hf://ORG/NAME@REV."""

import re
from pathlib import Path

from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from rm_tension.base.hub import model_folder

SCHEME = "hf://"
FILES = ("*.json", "*.safetensors")  # nothing that runs


def find_on_hub(address: str) -> Path:
    """The folder of hf://ORG/NAME@REV in the hub's cache, into which what is missing is fetched.

    REV is a commit, or a branch or tag, which may be another commit tomorrow. Raises UserError without one, or if the
    hub and its cache do not have it.
    """
    repo, _, revision = address.removeprefix(SCHEME).partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise UserError(
            f"{address}: not hf://ORG/NAME@REV, such as hf://ORG/rm-tension-mini-gpt2-small-helpful-0@COMMIT"
        )
    if not revision:
        raise UserError(
            f"{address}: names no revision, and what is there may be another model tomorrow; add the commit that the "
            f"repository's page lists under its history: hf://{repo}@COMMIT"
        )
    return model_folder(HubRepo(repo=repo, revision=revision), *FILES)
