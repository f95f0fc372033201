"""`rm-tension release`: prepare what is published of a profile that was run, and send its checkpoints."""

from typing import Annotated

from cyclopts import App, Parameter

from rm_tension.base.config import load_params
from rm_tension.release.kit import prepare as prepare_kit

app = App(name="release", default_parameter=Parameter(negative=()))


@app.command
def prepare(*, profile: str = "mini") -> None:
    """Write dist/release/PROFILE; `make release` adds the archive.

    Args:
        profile: Of params.yaml.
    """
    params = load_params()
    params.refuse_unknown([profile])
    print(f"{prepare_kit(params.grid, profile)}: read its STEPS.txt")


@app.command
def push(
    target: str,
    *,
    profile: str = "mini",
    model: Annotated[list[str] | None, Parameter(name="--model")] = None,
    dry_run: bool = False,
) -> None:
    """Send its checkpoints with their cards; what is there already is not sent again.

    Args:
        target: hf://ORG, a repository for each checkpoint; or s3://BUCKET/PREFIX.
        profile: Of params.yaml.
        model: Only this one, such as gpt2-small-helpful-0; repeatable.
        dry_run: Ask what is there, send nothing.
    """
    from rm_tension.release.push import push as send  # S3's client takes seconds to import

    params = load_params()
    params.refuse_unknown([profile])
    send(params.grid, profile, target, model or [], dry_run)
