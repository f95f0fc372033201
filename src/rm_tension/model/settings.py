"""What a checkpoint's rewards are made of, beside its weights: whoever has the folder needs no params.yaml."""

from pathlib import Path

from pydantic import ValidationError

from rm_tension.base.config import Positive, Precision, Settings, Template
from rm_tension.base.errors import UserError

FILE = "scoring.json"


class ScoringSettings(Settings):
    """As they were when the reward model was trained: its place in the grid, and how the pipeline scores texts.

    `template` holds {prompt} and {answer}; texts are cut at `max_length` tokens.
    """

    profile: str
    key: str
    template: Template
    max_length: Positive
    precision: Precision


def save_settings(settings: ScoringSettings, folder: Path) -> None:
    """Write FILE into a checkpoint's folder."""
    (folder / FILE).write_text(settings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_settings(folder: Path) -> ScoringSettings:
    """Raises UserError if the folder has no such file, or not one of these."""
    path = folder / FILE
    try:
        return ScoringSettings.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found, so nobody knows how to score with what is there: not one of our checkpoints, or "
            "trained before they kept their settings; train it again, or use plain transformers"
        ) from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        raise UserError(f"{path}: damaged ({faults}); fetch the checkpoint again") from error
