"""What a precision costs: statistics, rewards and claims of some trios, computed again in each precision and compared.

TF32 exists on GPUs alone; here the operands of every product of matrices, attention's among them, are rounded to its
ten bits and multiplied in float32. bfloat16 is torch's own autocast. The trios' models must be there (`dvc pull`).
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pandas as pd
import torch
from tabulate import tabulate
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from rm_tension.activations import __main__ as activations
from rm_tension.analyse import __main__ as analyse
from rm_tension.analyse.outcomes import outcomes, read_layout, read_scored
from rm_tension.base.config import Params, Precision, load_params
from rm_tension.base.files import write_json
from rm_tension.base.grid import Paths, Trio, trios
from rm_tension.base.job import Job
from rm_tension.evaluate import __main__ as evaluate
from rm_tension.model.device import Place

PRODUCTS = {
    getattr(torch.ops.aten, name)
    for name in ("linear", "addmm", "mm", "bmm", "baddbmm", "matmul", "scaled_dot_product_attention")
}
DROPPED = 13  # bits of float32's 23 that TF32 lacks
READ = ("data", "tokens", "models", "reference", "runs")  # by the stages, and not written here
KEYS = ["objective", "kind", "percent", "dataset", "item_id", "answer_index"]


def rounded(tensor: Tensor) -> Tensor:
    """float32 with TF32's ten bits after the point, to the nearest and of two the even."""
    bits = tensor.contiguous().view(torch.int32)
    odd = (bits >> DROPPED) & 1
    return (bits + (1 << (DROPPED - 1)) - 1 + odd & -(1 << DROPPED)).view(torch.float32)


class RoundedProducts(TorchDispatchMode):
    """Round the float32 operands of every product."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket in PRODUCTS:
            args = tree_map_only(Tensor, lambda one: rounded(one) if one.dtype == torch.float32 else one, args)
        return function(*args, **(kwargs or {}))


class Emulated(Place):
    """A CPU that has TF32."""

    @contextmanager
    def computing(self) -> Iterator[None]:
        with super().computing(), RoundedProducts():
            yield


def measure(params: Params, profile: str, precision: Precision, chosen: list[Trio], root: Path) -> pd.DataFrame:
    """Run statistics, scoring and analysis of the trios below `root`; returns the rewards of all."""
    settings = params.profiles[profile]
    changed = {
        name: getattr(settings, name).model_copy(update={"precision": precision})
        for name in ("activations", "evaluate")
    }
    settings = settings.model_copy(update=changed)
    for name in READ:
        (root / name).symlink_to(Path(name).absolute())
    (root / "runs").unlink()
    shutil.copytree("runs", root / "runs")
    paths, place = Paths(profile, root), Emulated if precision == "tf32" else Place
    for stage in (activations, evaluate):
        stage.Place = place  # type: ignore[attr-defined]
    for trio in chosen:
        arguments = argparse.Namespace(profile=profile, backbone=trio.backbone, seed=trio.seed)
        for stage in (activations, evaluate):
            stage.run(Job(params, settings, paths, arguments))
            print(f"{precision}: {trio.key}: {stage.__name__.split('.')[1]}", flush=True)
    analyse.run(Job(params, settings, paths, argparse.Namespace(profile=profile)))
    layout = read_layout(paths, params.grid)
    scored = [read_scored(paths.rewards(trio), layout, params.grid.test_files).assign(trio=trio.key) for trio in chosen]
    return pd.concat(scored, ignore_index=True)


def difference(exact: pd.DataFrame, other: pd.DataFrame) -> Mapping[str, float]:
    """Of rewards: how far apart, and how many items are judged otherwise."""
    right = [
        pd.concat([outcomes(rows).assign(trio=key) for key, rows in table.groupby("trio")]) for table in (exact, other)
    ]
    keys = ["trio", "objective", "kind", "percent", "item"]
    both = right[0].merge(right[1], on=keys, suffixes=("", "_other"))
    spread = exact.groupby(["trio", "objective"], observed=True)["reward"].transform("std")
    apart = (exact["reward"] - other["reward"]).abs() / spread
    return {
        "items": len(both),
        "changed": int((both["correct"] != both["correct_other"]).sum()),
        "ties": int(both["tie_other"].sum()),
        "ties_in_float32": int(both["tie"].sum()),
        "largest_difference_in_sd": float(apart.max()),
        "median_difference_in_sd": float(apart.median()),
    }


def claims(root: Path, profile: str) -> dict[str, Any]:
    """By id, as the analyse stage decided them."""
    found = json.loads((Paths(profile, root).results / "claims.json").read_text(encoding="utf-8"))
    return {one["id"]: one for one in found}


def compare(profile: str, count: int | None) -> dict[str, Any]:
    """The differences of each precision from float32, for the first trios of a profile, one of each backbone first."""
    params = load_params()
    chosen = list(islice(sorted(trios(params.grid, profile), key=lambda trio: trio.seed), count))
    with TemporaryDirectory() as folder:
        roots = {precision: Path(folder, precision) for precision in get_args(Precision)}
        rewards = {}
        for precision, root in roots.items():
            root.mkdir()
            rewards[precision] = measure(params, profile, precision, chosen, root)
        exact = claims(roots["float32"], profile)
        result: dict[str, Any] = {"profile": profile, "trios": [trio.key for trio in chosen], "precisions": {}}
        for precision in ("tf32", "bfloat16"):
            found = claims(roots[precision], profile)
            result["precisions"][precision] = dict(difference(rewards["float32"], rewards[precision])) | {
                "claims": {
                    key: {name: (exact[key][name], one[name]) for name in ("effect", "verdict")} | {"unit": one["unit"]}
                    for key, one in found.items()
                }
            }
    return result


def table(result: Mapping[str, Any]) -> str:
    """As docs/PRECISION.md has it."""
    lines = []
    for precision, one in result["precisions"].items():
        share = f"{one['changed']} of {one['items']:,} ({one['changed'] / one['items']:.3%})"
        apart = f"{one['median_difference_in_sd']:.1e}, at most {one['largest_difference_in_sd']:.1e}"
        other = [key for key, claim in one["claims"].items() if claim["verdict"][0] != claim["verdict"][1]]
        lines.append([precision, share, one["ties"], apart, ", ".join(other) or "none"])
    headers = ["precision", "outcomes that differ", "ties", "rewards apart (sd)", "verdicts that differ"]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Write the differences as JSON and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--trios", type=int, help="default: all")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = compare(arguments.profile, arguments.trios)
    write_json(arguments.json, result)
    print(table(result))


if __name__ == "__main__":
    main()
