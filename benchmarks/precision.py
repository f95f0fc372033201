"""Compute statistics, rewards and claims of some trios in each precision, and compare them.

TF32 exists on GPUs alone; here the operands of every product of matrices, attention's among them,
are rounded to its ten bits and multiplied in float32. bfloat16 is torch's own autocast. The trios'
models must be there (`dvc pull`).
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pandas as pd
import torch
from tabulate import tabulate
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only

from rm_tension.activations import stage as activations
from rm_tension.analyse import stage as analyse
from rm_tension.analyse.outcomes import outcomes, read_layout, read_scored
from rm_tension.base.config import Params, Precision, Profile, load_params
from rm_tension.base.files import atomic_write, write_json
from rm_tension.base.grid import Paths, Split, Trio, trios
from rm_tension.base.job import Job
from rm_tension.evaluate import stage as evaluate
from rm_tension.model.device import Compute

NAMES = "linear addmm mm bmm baddbmm matmul scaled_dot_product_attention"
PRODUCTS = {getattr(torch.ops.aten, name) for name in NAMES.split()}
DROPPED = 13  # bits of float32's 23 that TF32 lacks
READ = ("models", "reference")  # by the stages, and not written here
CHANGED = ("data", "tokens", "runs")  # read, and written here
KEYS = ["objective", "kind", "percent", "dataset", "item_id", "answer_index"]


def rounded(tensor: Tensor) -> Tensor:
    """float32 with TF32's ten bits after the point, to the nearest and of two the even."""
    bits = tensor.contiguous().view(torch.int32)
    odd = (bits >> DROPPED) & 1
    return (bits + (1 << (DROPPED - 1)) - 1 + odd & -(1 << DROPPED)).view(torch.float32)


class RoundedProducts(TorchDispatchMode):
    """Round the float32 operands of every product."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function.overloadpacket in PRODUCTS:
            args = tree_map_only(
                Tensor, lambda one: rounded(one) if one.dtype == torch.float32 else one, args
            )
        return function(*args, **(kwargs or {}))


class Emulated(Compute):
    """A CPU that has TF32."""

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Round the operands of products."""
        with super().autocast(), RoundedProducts():
            yield

    @contextmanager
    def float32(self) -> Iterator[None]:
        """Leave products as they are."""
        with super().float32(), _disable_current_modes():
            yield


@dataclass(frozen=True)
class Sample:
    """How much of a profile is computed: None for all that it has.

    `pairs` of each file of test pairs are scored, and of each objective summed; `items` of each
    part of a benchmark.
    """

    trios: int | None
    pairs: int | None
    items: int | None


def cut(paths: Paths, split: Split, count: int | None) -> None:
    """Leave the first items of each subset that is scored."""
    if count is not None:
        for path in (paths.texts(split), *paths.all_tokens.glob(f"*/{split}.parquet")):
            table = pd.read_parquet(path)
            with atomic_write(path) as partial:
                table.groupby(["dataset", "subset"], sort=False).head(count).to_parquet(
                    partial, index=False
                )


def measure(
    params: Params, settings: Profile, chosen: list[Trio], sample: Sample, paths: Paths
) -> pd.DataFrame:
    """Run statistics, scoring and analysis of the trios below `paths.root`; return all rewards."""
    for name in READ:
        (paths.root / name).symlink_to(Path(name).absolute())
    for name in CHANGED:
        shutil.copytree(Path(name, paths.profile), paths.root / name / paths.profile)
    cut(paths, "test", sample.pairs)
    cut(paths, "benchmarks", sample.items)
    precision = settings.evaluate.precision
    compute = Emulated if precision == "tf32" else Compute
    for stage in (activations, evaluate):
        stage.Compute = compute  # type: ignore[attr-defined]
    for trio in chosen:
        cell = {"profile": paths.profile, "backbone": trio.backbone, "seed": trio.seed}
        for stage in (activations, evaluate):
            stage.run(Job(params, settings, paths, cell))
            print(f"{precision}: {trio.key}: {stage.__name__.split('.')[1]}", flush=True)
    analyse.run(Job(params, settings, paths, {"profile": paths.profile}))
    layout = read_layout(paths)
    scored = [read_scored(paths.rewards(trio), layout).assign(trio=trio.key) for trio in chosen]
    return pd.concat(scored, ignore_index=True)


def difference(exact: pd.DataFrame, other: pd.DataFrame) -> Mapping[str, float]:
    """Of rewards: how far apart, and how many items are judged otherwise."""
    right = [
        pd.concat([outcomes(rows).assign(trio=key) for key, rows in table.groupby("trio")])
        for table in (exact, other)
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


def compare(profile: str, sample: Sample) -> dict[str, Any]:
    """Return what differs from float32, by precision; first a trio of each backbone."""
    params = load_params()
    chosen = sorted(trios(params.grid, profile), key=lambda trio: trio.seed)[: sample.trios]
    rewards, claims = {}, {}
    with TemporaryDirectory() as folder:
        for precision in get_args(Precision):
            paths = Paths(profile, Path(folder, precision))
            paths.root.mkdir()
            settings = with_precision(params.profiles[profile], precision, sample.pairs)
            rewards[precision] = measure(params, settings, chosen, sample, paths)
            decided = json.loads((paths.results / "claims.json").read_text(encoding="utf-8"))
            claims[precision] = {claim["id"]: claim for claim in decided}
    precisions = {}
    for precision in ("tf32", "bfloat16"):
        both = {}
        for key, claim in claims[precision].items():
            exact = claims["float32"][key]
            both[key] = {name: (exact[name], claim[name]) for name in ("effect", "verdict")}
            both[key]["unit"] = claim["unit"]
        apart = difference(rewards["float32"], rewards[precision])
        precisions[precision] = {**apart, "claims": both}
    return {
        "profile": profile,
        "trios": [trio.key for trio in chosen],
        "sample": asdict(sample),
        "precisions": precisions,
    }


def with_precision(settings: Profile, precision: Precision, pairs: int | None) -> Profile:
    """Return the profile that measures in a precision, with statistics over so many pairs."""
    changes = {"precision": precision, "max_pairs": pairs or settings.activations.max_pairs}
    summing = settings.activations.model_copy(update=changes)
    scoring = settings.evaluate.model_copy(update={"precision": precision})
    return settings.model_copy(update={"activations": summing, "evaluate": scoring})


def table(result: Mapping[str, Any]) -> str:
    """As docs/PERFORMANCE.md has it."""
    lines = []
    for precision, one in result["precisions"].items():
        share = f"{one['changed']} of {one['items']:,} ({one['changed'] / one['items']:.3%})"
        median, most = one["median_difference_in_sd"], one["largest_difference_in_sd"]
        verdicts = {key: claim["verdict"] for key, claim in one["claims"].items()}
        other = [key for key, (exact, found) in verdicts.items() if exact != found]
        apart = f"{median:.1e}, at most {most:.1e}"
        lines.append([precision, share, one["ties"], apart, ", ".join(other) or "none"])
    headers = ["precision", "outcomes that differ", "ties", "rewards apart (sd)"]
    headers.append("verdicts that differ")
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Write the differences as JSON and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--trios", type=int, help="default: all")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--pairs", type=int, help="scored of each file of test pairs, and summed of each objective"
    )
    parser.add_argument("--items", type=int, help="scored of each part of a benchmark")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = compare(arguments.profile, Sample(arguments.trios, arguments.pairs, arguments.items))
    write_json(arguments.json, result)
    print(table(result))


if __name__ == "__main__":
    main()
