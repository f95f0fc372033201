"""dvc.yaml says what the code does: every stage depends on just the code that it imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from checkout import dvc
from rm_tension.base.config import SUBSET

SRC = Path("src")
WRITTEN = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
STAGES = {
    name: stage for name, stage in WRITTEN.items() if not name.endswith(SUBSET)
}  # the others are the same
# The ground floor passes on what `params:` and the paths already track; tracking only watches.
PLUMBING = ("rm_tension.base", "rm_tension.tracking")


def module_file(name):
    path = SRC / Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(name):
    """Our modules that a module names in its import statements."""
    for node in ast.walk(ast.parse(module_file(name).read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.startswith("rm_tension")
        ):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if module_file(inner).exists() else node.module


def closure(name, seen):
    if (
        name not in seen
        and not name.startswith(PLUMBING)
        and module_file(name).name != "__init__.py"
    ):
        seen.add(name)
        for inner in imports(name):
            closure(inner, seen)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_imports(stage):
    listed = [Path(path) for path in STAGES[stage]["deps"] if path.startswith("src/")]
    code = [path for path in listed if path.suffix != ".csv"]
    needed = {module_file(name) for name in closure(f"rm_tension.{stage}.stage", set())}
    assert all(path.exists() for path in listed)
    missing = {
        path for path in needed if not any(path == one or one in path.parents for one in listed)
    }
    assert not missing
    unused = {one for one in code if not any(path == one or one in path.parents for path in needed)}
    assert not unused


def test_stages_of_a_part_of_the_grid_are_those_of_the_whole():
    """But for the axes."""
    for name, stage in WRITTEN.items():
        if name.endswith(SUBSET):
            assert stage | {"matrix": 0} == STAGES[name.removesuffix(SUBSET)] | {"matrix": 0}


OF = "${item.profile}"
CODE = "src/rm_tension"


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        (f"profiles.{OF}.evaluate.task_percent", {"evaluate", "report"}),
        (f"profiles.{OF}.activations.max_pairs", {"activations", "report"}),
        (f"profiles.{OF}.train.learning_rate", {"train", "report"}),
        (f"profiles.{OF}.tokens.max_length", {"tokens", "backbone", "report"}),
        (f"profiles.{OF}.data.max_items_per_task", {"data", "report"}),
        (f"{CODE}/report/latex.py", {"report"}),  # a table
        (f"{CODE}/analyse/claims.py", {"analyse", "report"}),  # a claim
        (f"{CODE}/paper/tasks.csv", {"data", "analyse", "report"}),  # a task
        (f"{CODE}/data/sources.py", {"data", "report"}),  # a benchmark; the report tells the cost
        (f"{CODE}/tokens/encode.py", {"tokens"}),
        (f"{CODE}/evaluate/scores.py", {"evaluate", "analyse", "report"}),  # a neuron score
        (f"{CODE}/evaluate/controls.py", {"evaluate", "analyse", "report"}),  # a control
        (f"{CODE}/backbone/neurons.py", {"backbone", "activations", "evaluate"}),
        (f"{CODE}/train/training.py", {"train"}),  # a loss
        (f"{CODE}/activations/stats.py", {"activations"}),
        (f"{CODE}/model/rows.py", {"backbone", "train", "activations", "evaluate"}),  # attention
        (f"{CODE}/base/config.py", set()),
        (f"{CODE}/tracking/live.py", set()),
        (f"{CODE}/score/loading.py", set()),
        (f"{CODE}/preflight.py", set()),
        # a template of the benchmarks changes these tokens and trains nothing again
        (f"tokens/{OF}/${{item.backbone}}/benchmarks.parquet", {"evaluate"}),
    ],
)
def test_a_change_reaches_only_what_depends_on_it(changed, stages):
    def depends(stage):
        listed = (*stage.get("deps", ()), *stage.get("params", ()))
        return any(changed == one or changed.startswith((f"{one}/", f"{one}.")) for one in listed)

    assert {name for name, stage in STAGES.items() if depends(stage)} == stages


def test_stages_that_need_no_model_import_no_torch():
    modules = ", ".join(f"rm_tension.{stage}.stage" for stage in ("data", "analyse", "report"))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


STRAYS = (
    ".a.py.swp",
    "a.py~",
    ".#a.py",
    "#a.py#",
    ".ipynb_checkpoints/a.py",
    ".DS_Store",
    "._a.py",
)
STRAYS += ("Thumbs.db", ".nfs0001", "__pycache__/a.pyc", ".a.json.partial")


def test_files_that_editors_and_systems_leave_make_nothing_stale():
    strays = {f"{CODE}/{name}" for name in STRAYS}
    ignored = dvc("check-ignore", *sorted(strays), f"{CODE}/a.py").splitlines()
    assert {*ignored} == strays
