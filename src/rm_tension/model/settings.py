"""How a checkpoint scores texts, in its folder: whoever has that needs no params.yaml."""

from pathlib import Path

from pydantic import ValidationError

from rm_tension.base.config import Positive, Precision, Settings, Template
from rm_tension.base.errors import UserError

FILE = "scoring.json"


class ScoringSettings(Settings):
    """The reward model's place in the grid, and how the pipeline scored texts when it was trained.

    `template` holds {prompt} and {answer}; texts are cut at `max_length` tokens. Of a model that
    others trained, the profile is empty, and no template means the tokenizer's chat template.
    """

    profile: str
    key: str
    template: Template | None
    max_length: Positive
    precision: Precision


def save_settings(settings: ScoringSettings, folder: Path) -> None:
    """Write FILE into a checkpoint's folder."""
    (folder / FILE).write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_settings(folder: Path) -> ScoringSettings:
    """Read FILE of a checkpoint's folder; raise UserError if it is damaged."""
    path = folder / FILE
    try:
        return ScoringSettings.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        raise UserError(f"{path}: damaged ({faults}); fetch the checkpoint again") from error
