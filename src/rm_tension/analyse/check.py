"""Print the claims and their verdicts; fail if one that the profile requires is not reproduced."""

from tabulate import tabulate

from rm_tension.analyse.tally import summarise
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json
from rm_tension.base.grid import Paths

NUMBERS = ["id", "verdict", "required", "effect", "interval", "unit", "published"]
COLUMNS = {**{name: name for name in NUMBERS}, "published_verdict": "paper's own", "claim": "claim"}


def main(*, profile: str) -> None:
    """Print the claims of results/PROFILE/claims.json, their verdicts, and a summary.

    Exit with 1 unless those are reproduced that params.yaml requires of the profile.

    Args:
        profile: A profile of params.yaml.
    """
    load_params().refuse_unknown([profile])
    paths = Paths(profile)
    published = paths.reports / "claims.md"
    if published.exists() and not paths.results.exists():
        raise UserError(
            f"{paths.results}: not here: `rm-tension run report@{profile}` computes it, `dvc pull "
            f"{paths.results}` fetches it from a remote; {published} has the published verdicts"
        )
    claims = read_json(paths.results / "claims.json", list[DecidedClaim])
    rows = [[_shown(getattr(claim, column)) for column in COLUMNS] for claim in claims]
    widths = [*[None] * (len(COLUMNS) - 1), 60]
    headers = list(COLUMNS.values())
    print(tabulate(rows, headers=headers, disable_numparse=True, maxcolwidths=widths))
    print(summarise(claims))
    failed = [claim.id for claim in claims if claim.required and claim.verdict != "reproduced"]
    if failed:
        raise UserError(f"required by profile {profile} and not reproduced: {', '.join(failed)}")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else ""
    return "-" if value is None else f"{value:+.3f}" if isinstance(value, float) else str(value)
