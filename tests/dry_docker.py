#!/usr/bin/env python
"""Stands in for `docker`: checks the options that the documents use, and that the stages to run in it exist."""

import argparse
import subprocess
from pathlib import Path

from rm_tension.cli import make_app

parser = argparse.ArgumentParser(prog="docker")
commands = parser.add_subparsers(dest="command", required=True)
build = commands.add_parser("build")
build.add_argument("--tag", required=True)
build.add_argument("context", type=Path)
run = commands.add_parser("run")
for flag in ("--rm", "--read-only", "--interactive"):
    run.add_argument(flag, action="store_true")
for option in ("--gpus", "--user", "--network", "--tmpfs", "--entrypoint"):
    run.add_argument(option)
for option in ("--volume", "--env"):
    run.add_argument(option, action="append")
run.add_argument("image")
run.add_argument("inner", nargs=argparse.REMAINDER)

commands.add_parser("pull").add_argument("image")
tag = commands.add_parser("tag")
tag.add_argument("image")
tag.add_argument("name")

parser.set_defaults(inner=[])
arguments = parser.parse_args()
if arguments.command == "build":
    dockerfile = (arguments.context / "Dockerfile").read_text(encoding="utf-8")
elif arguments.inner[:2] in (["dvc", "repro"], ["dvc", "pull"]):
    stages = [word for word in arguments.inner[2:] if not word.startswith("--")]
    subprocess.run(["dvc", "status", *stages], check=True)
elif arguments.inner[:1] == ["rm-tension"]:
    make_app().parse_args(arguments.inner[1:], exit_on_error=False, print_error=False)
