"""One command for all programs of this package: `python -m rm_tension COMMAND ...`, each with --help."""

import argparse
import runpy
import sys

STAGES = ("data", "tokens", "backbone", "train", "activations", "evaluate", "analyse", "report")
PROGRAMS = {
    **{stage: f"rm_tension.{stage}" for stage in STAGES},
    "launch": "rm_tension.launch",
    "claims": "rm_tension.analyse.check",
    "verify": "rm_tension.verify",
    "spotcheck": "rm_tension.spotcheck",
    "score": "rm_tension.score",
    "estimate": "rm_tension.estimate",
    "preflight": "rm_tension.preflight",
    "tracking": "rm_tension.tracking",
    "release": "rm_tension.release",
}


def main() -> None:
    """Run the program that the first argument names with the others."""
    parser = argparse.ArgumentParser(prog="python -m rm_tension", description=__doc__)
    parser.add_argument("command", choices=PROGRAMS, metavar="COMMAND", help=", ".join(PROGRAMS))
    arguments = parser.parse_args(sys.argv[1:2])
    del sys.argv[1]
    runpy.run_module(PROGRAMS[arguments.command], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
