"""The one command: `rm-tension COMMAND ...`, or `python -m rm_tension COMMAND ...`.

A command is a function, imported only when it is asked for. Its parameters are its options, its
docstring its help.
"""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, Group, Parameter
from cyclopts.exceptions import CycloptsError
from safetensors import SafetensorError

from rm_tension.base import portable
from rm_tension.base.errors import UserError
from rm_tension.base.surroundings import check

USAGE_ERROR = 2
# of a full disk, and of paths that may not be written or lead through a file
REFUSED = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
)
# By group, in the order of the help: the name, the function, and what it does.
COMMANDS = {
    "Use what is there": {
        "score": ("rm_tension.score.command:main", "Score answers with a trained reward model."),
        "dissect": (
            "rm_tension.dissect.command:main",
            "Score the neurons of any reward model, and switch them off.",
        ),
        "claims": ("rm_tension.analyse.check:main", "Print the claims and their verdicts."),
        "verify": (
            "rm_tension.verify:main",
            "Say whether a profile that ran here has the published bits.",
        ),
        "spotcheck": (
            "rm_tension.spotcheck:main",
            "Score a sample of cached rewards again and compare.",
        ),
        "mlflow": (
            "rm_tension.tracking.view:main",
            "Show the runs and their metrics in MLflow.",
        ),
    },
    "Run a profile": {
        "preflight": ("rm_tension.preflight:main", "Say what this machine lacks for a profile."),
        "cost": (
            "rm_tension.cost_command:main",
            "Estimate hours, memory and disk of a profile.",
        ),
        "run": (
            "rm_tension.launch.command:run",
            "Run stale stages in parallel, as `dvc repro` would one by one.",
        ),
        "status": (
            "rm_tension.launch.command:status",
            "Say which stages are up to date, stale or failed.",
        ),
    },
    "Publish": {
        "release": (
            "rm_tension.release.command:app",
            "Prepare and upload checkpoints, data and cards of a profile.",
        ),
        "deposit": (
            "rm_tension.deposit.command:app",
            "Make a draft with a DOI of archive, report and cache; fill a cache from one.",
        ),
    },
    "Stages, as dvc.yaml runs them": {
        "data": ("rm_tension.data.stage:main", "Write preference pairs and benchmark items."),
        "tokens": ("rm_tension.tokens.stage:main", "Tokenise all texts."),
        "backbone": ("rm_tension.backbone.stage:main", "Fetch or initialise one backbone."),
        "train": ("rm_tension.train.stage:main", "Train one reward model."),
        "activations": ("rm_tension.activations.stage:main", "Sum the MLP activations of a trio."),
        "evaluate": (
            "rm_tension.evaluate.stage:main",
            "Score a trio on all test sets, whole and ablated.",
        ),
        "analyse": ("rm_tension.analyse.stage:main", "Compute every number of the report."),
        "report": ("rm_tension.report.stage:main", "Render tables, figures, page and PDF."),
    },
}


def make_app() -> App:
    """Return the command line, of which no command is imported yet."""
    app = App(
        name="rm-tension",
        help="Train, dissect and re-render the reward models of arXiv 2606.13209.",
        help_format="plaintext",
        default_parameter=Parameter(negative=()),  # no --no-dry-run
        result_action="return_value",
    )
    for title, commands in COMMANDS.items():
        group = Group.create_ordered(title)
        for name, (function, sentence) in commands.items():
            app.command(function, name=name, help=sentence, group=group)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, by default that of `sys.argv`.

    Exit with 1 on a UserError, with 2 if the command is not understood.
    """
    portable.before_numpy()
    os.environ["MPLBACKEND"] = "agg"  # notebooks ask for theirs, which matplotlib refuses elsewhere
    try:
        check()
        make_app()(arguments, exit_on_error=False, print_error=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # what cannot be written is known here, not as Python exits
    except CycloptsError as error:
        print(f"error: {error}; --help explains", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except UserError as error:
        sys.exit(f"error: {error}")
    except SafetensorError as error:  # no OSError, of a full disk
        sys.exit(f"error: below {Path.cwd()}: {error}")
    except OSError as error:
        if error.errno not in (errno.EPIPE, *REFUSED):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more as it exits
        sys.exit(128 + signal.SIGPIPE if error.errno == errno.EPIPE else f"error: {error}")
