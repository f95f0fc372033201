"""Prepare what is published of a profile that was run, and send its checkpoints with their cards to a hub or to S3."""

import argparse
import sys

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.release.kit import prepare


def main() -> None:
    """Exits 1, with a message and without a traceback, on a UserError."""
    try:
        params = load_params()
        parser = argparse.ArgumentParser(prog="python -m rm_tension.release", description=__doc__)
        commands = parser.add_subparsers(dest="command", required=True)
        kit = commands.add_parser("prepare", help="write dist/release/PROFILE; `make release` adds the archive")
        sending = commands.add_parser("push", help="send its checkpoints; what is there already is not sent again")
        for command in (kit, sending):
            command.add_argument("--profile", default="mini", choices=params.grid.profiles, help="default: mini")
        sending.add_argument("target", help="hf://ORG, a repository for each checkpoint; or s3://BUCKET/PREFIX")
        sending.add_argument(
            "--model", action="append", default=[], metavar="KEY", help="only gpt2-small-helpful-0, ...; repeatable"
        )
        sending.add_argument("--dry-run", action="store_true", help="ask what is there, send nothing")
        arguments = parser.parse_args()
        if arguments.command == "prepare":
            print(f"{prepare(params.grid, arguments.profile)}: read its STEPS.txt")
        else:
            from rm_tension.release.push import push  # seconds for S3's client that the kit need not wait for

            push(params.grid, arguments.profile, arguments.target, arguments.model, arguments.dry_run)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
