"""params.yaml as frozen models: the one place that knows its keys.

Unknown keys, wrong types and impossible values are refused with the path of the key, e.g.
`profiles.mini.evaluate.hh_percents.random.3: Input should be less than or equal to 100 (got 120)`. What the settings
alone decide is decided here, before the first stage; no stage checks it again.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rm_tension.base.errors import UserError
from rm_tension.paper.tasks import SUBSETS, TASKS

Objective = Literal["helpful", "harmless", "mixed"]
Family = Literal["gpt2", "llama"]
Dtype = Literal["float32", "bfloat16"]
Precision = Literal["float32", "tf32", "bfloat16"]
ClaimId = Literal[
    "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11",
    "C12", "C13", "C14", "C15", "C16", "C17", "C18", "C19", "C20", "C21",
]  # fmt: skip
Score = Literal[
    "random", "change", "magnitude", "absolute"
]  # of neurons: SCORES of evaluate/selection.py
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
TRIO = "-trio"  # behind the names of stages of profiles that have a part of the grid
HH = "hh-rlhf"  # the data set of the pairs, beside the suites of paper/tasks.py
HHSource = Literal["helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base"]

HH_SOURCES: tuple[HHSource, ...] = get_args(HHSource)
TestFiles = Mapping[str, tuple[HHSource, ...]]  # of HH-RLHF, by objective

# What LaTeX with these fonts can print: Latin letters, their accents, and the usual punctuation, but for UNPRINTABLE.
PRINTABLE = r"[ -~\u00a0-\u017f\u2013\u2014\u2018-\u201d\u2026]"
UNPRINTABLE = "ĦħĸĿŀŉŦŧſ‛"
FORMULA = "$"  # between two of which figures and pages look for a formula
MOST_THREADS = 1024
LARGEST = 2**20  # tokens of a vocabulary or a text


def _shown(text: str) -> str:
    refused = [
        c for c in text if not re.fullmatch(PRINTABLE, c) or c in UNPRINTABLE or c == FORMULA
    ]
    if refused or not text.strip():
        what = (
            f"{', '.join(map(repr, dict.fromkeys(refused)))} cannot be printed"
            if refused
            else "nothing to print"
        )
        raise ValueError(
            f"{what} in tables and figures: write Latin letters, digits and punctuation"
        )
    return text


def _of_the_hub(repo: str) -> str:
    part = r"\w(?:[\w.-]*\w)?"
    if not re.fullmatch(rf"(?:{part}/)?{part}", repo, re.ASCII) or re.search(
        r"--|\.\.|\.git$", repo
    ):
        raise ValueError(
            "not the OWNER/NAME of a repository of the hub; files of this machine go into the hub's cache"
        )
    return repo


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [str(value) for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{', '.join(twice)} given twice: leave one out")
    return values


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("empty: name at least one")
    return values


def _of_every_source(numbers: dict[HHSource, int]) -> dict[HHSource, int]:
    if missing := [source for source in HH_SOURCES if source not in numbers]:
        raise ValueError(
            f"no number of {', '.join(missing)}: give one, for the miniature has all files of HH-RLHF"
        )
    return numbers


def _with_places(template: str) -> str:
    if re.findall(r"{prompt}|{answer}", template) != ["{prompt}", "{answer}"]:
        raise ValueError("template must hold {prompt} and then {answer}, once each")
    return template


Value = TypeVar("Value")
Distinct = Annotated[tuple[Value, ...], AfterValidator(_distinct)]
Some = Annotated[tuple[Value, ...], AfterValidator(_some), AfterValidator(_distinct)]
Positive = Annotated[int, Field(gt=0)]
Percent = Annotated[int, Field(gt=0, le=100)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what numpy, pandas and torch take
Shown = Annotated[str, AfterValidator(_shown)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")]
PairNumbers = Annotated[dict[HHSource, Positive], AfterValidator(_of_every_source)]
Template = Annotated[str, AfterValidator(_with_places)]


def _refusal(key: str, message: str) -> PydanticCustomError:
    """Return the error of a check of several keys: at the key below the section that is checked (`_explain`)."""
    return PydanticCustomError("setting", "{message}", {"key": key, "message": message})


class Settings(BaseModel):
    """A part of params.yaml: no other keys, no other types, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Pairs(Settings):
    """The files of HH-RLHF that an objective is trained and tested on."""

    train: Some[HHSource]
    test: Some[HHSource]


class Axes(Settings):
    """Which reward models the `profiles` have."""

    profiles: Distinct[Name]
    backbones: Distinct[Name]
    seeds: Distinct[Seed]

    @model_validator(mode="after")
    def _profiles_have_models(self) -> "Axes":
        for axis in ("backbones", "seeds"):
            if self.profiles and not getattr(self, axis):
                raise _refusal(
                    axis, f"empty, but {', '.join(self.profiles)} must have at least one"
                )
        return self


class Grid(Settings):
    """One reward model per backbone x objective x seed (METHOD.md section 1) in the profiles of `whole`.

    Those of `trio` have a part of it, in stages that are called `train-trio` instead of `train`. `not_ablated` are the
    parts of the suites that no table has, as suite/subset with shell wildcards.
    """

    profiles: Some[Name]
    whole: Axes
    trio: Axes
    objectives: Distinct[Objective]
    pairs: dict[Objective, Pairs]
    not_ablated: Distinct[str]

    @model_validator(mode="after")
    def _every_objective_has_pairs(self) -> "Grid":
        if set(self.objectives) != set(
            OBJECTIVES
        ):  # which a trio is made of, in dvc.yaml and in every table
            raise _refusal(
                "objectives", f"{', '.join(self.objectives)}: must be {', '.join(OBJECTIVES)}"
            )
        if set(self.objectives) != set(self.pairs):
            raise _refusal(
                "pairs", f"of {', '.join(self.pairs)}: must be of {', '.join(self.objectives)}"
            )
        return self

    @model_validator(mode="after")
    def _every_profile_has_axes(self) -> "Grid":
        named = [*self.whole.profiles, *self.trio.profiles]
        if sorted(self.profiles) != sorted(named):
            raise _refusal(
                "profiles", f"{', '.join(self.profiles)}: whole and trio have {', '.join(named)}"
            )
        return self

    @model_validator(mode="after")
    def _some_tasks_are_ablated(self) -> "Grid":
        for pattern in self.not_ablated:
            if not any(fnmatch(f"{subset.suite}/{subset.name}", pattern) for subset in SUBSETS):
                known = "suite/subset, as in paper/subsets.csv, with shell wildcards"
                raise _refusal("not_ablated", f"{pattern!r} fits no part of a suite: write {known}")
        if not any(
            self.ablates(subset.suite, subset.name) for task in TASKS for subset in task.subsets
        ):
            raise _refusal("not_ablated", "leaves no task to ablate neurons on: leave one out")
        return self

    def axes(self, profile: str) -> Axes:
        return self.trio if profile in self.trio.profiles else self.whole

    def stage(self, kind: str, profile: str, key: str) -> str:
        """The name in dvc.yaml of a stage that computes on a model, such as train@mini-gpt2-small-helpful-0."""
        return f"{kind}{TRIO if profile in self.trio.profiles else ''}@{profile}-{key}"

    @property
    def test_files(self) -> TestFiles:
        """By objective."""
        return {objective: self.pairs[objective].test for objective in self.objectives}

    def ablates(self, suite: str, subset: str) -> bool:
        """Whether a part of a suite is scored under ablations, too."""
        return not any(fnmatch(f"{suite}/{subset}", pattern) for pattern in self.not_ablated)


class HubRepo(Settings):
    """A repository of the Hugging Face hub at a revision."""

    repo: Annotated[str, AfterValidator(_of_the_hub)]
    revision: Annotated[str, Field(pattern=r"^[!-~]+$")]


class HubData(Settings):
    """The real data sets. `stand_ins` says what is taken for the official files, and every report says it again; null
    refuses whatever is not official."""

    kind: Literal["hub"]
    stand_ins: Shown | None
    hh_rlhf: HubRepo
    reward_bench: HubRepo
    reward_bench_2: HubRepo
    rm_bench: HubRepo


class MiniatureData(Settings):
    """Generated data in the official files' formats; `label_noise` is the share of pairs with the label flipped."""

    kind: Literal["miniature"]
    seed: Seed
    train_pairs: PairNumbers
    test_pairs: PairNumbers
    items_per_task: Positive
    label_noise: Annotated[float, Field(ge=0, lt=0.5)]


class DataConfig(Settings):
    """Caps are seeded random samples; null keeps all.

    `max_train_pairs` and `max_test_pairs` cap the pairs of all files that an objective names, taken together: a file
    keeps its share of them, and an objective has what was drawn of its files. So the mixed objective is the union of
    what it names, in the proportion of the whole files (the paper's is 2.8 helpful pairs for a harmless one).
    `max_items_per_task` caps each part of a suite.
    """

    source: Annotated[HubData | MiniatureData, Field(discriminator="kind")]
    max_train_pairs: Positive | None
    max_test_pairs: Positive | None
    max_items_per_task: Positive | None


class HubFiles(HubRepo):
    """A tokenizer or a model's weights from the hub."""

    kind: Literal["hub"]


class TrainedTokenizer(Settings):
    """A byte-level BPE trained on the profile's training texts."""

    kind: Literal["trained"]
    vocabulary: Annotated[int, Field(ge=300, le=LARGEST)]


class TokensConfig(Settings):
    """`max_length` in tokens: longer texts are cut, and training drops pairs that would be longer with an EOS."""

    max_length: Annotated[int, Field(ge=2, le=LARGEST)]
    template: Template
    tokenizers: dict[Name, Annotated[HubFiles | TrainedTokenizer, Field(discriminator="kind")]]


class Pretraining(Settings):
    """Language modelling on the profile's training texts, in chunks of `length` tokens."""

    steps: Positive
    chunks_per_step: Positive
    length: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]


class RandomWeights(Settings):
    """A randomly initialised backbone; `width` is the residual stream's, the MLP is four times as wide.

    `init_std` is the weights' standard deviation, `gain_spread` that of the logarithm of a factor on each neuron's
    input weights: the larger, the fewer neurons matter. `pretraining` comes before any reward training; null is none.
    """

    kind: Literal["random"]
    family: Family
    layers: Positive
    width: Positive
    heads: Positive
    init_std: Annotated[float, Field(gt=0)]
    gain_spread: Annotated[float, Field(ge=0)]
    seed: Seed
    pretraining: Pretraining | None

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "RandomWeights":
        if self.width % (2 * self.heads):
            raise _refusal(
                "width", f"{self.width} must be a multiple of twice the heads ({self.heads})"
            )
        return self


class Backbone(Settings):
    """`name` is what tables show; the key in `backbones` is the place in the grid."""

    name: Shown
    tokenizer: Name
    weights: Annotated[HubFiles | RandomWeights, Field(discriminator="kind")]


class TrainConfig(Settings):
    """The recipe of METHOD.md section 1. `tokens_per_micro_batch` changes memory, not gradients.

    `weights` is the type of weights and optimiser state, `precision` that of the products. A training that is killed
    loses at most `save_every_minutes`; 0 saves after every step.
    """

    epochs: dict[Objective, Positive]
    learning_rate: Annotated[float, Field(gt=0)]
    pairs_per_step: Positive
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    head_std: Annotated[float, Field(gt=0)]
    weights: Dtype
    precision: Precision
    tokens_per_micro_batch: Positive
    save_every_minutes: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _weights_have_the_precision(self) -> "TrainConfig":
        if self.weights == "bfloat16" != self.precision:
            raise _refusal(
                "precision", f"{self.precision}: weights in bfloat16 are multiplied in bfloat16"
            )
        return self


class ActivationsConfig(Settings):
    """`max_pairs`: a seeded sample of the RM's training split, long pairs too; null is all of it."""

    max_pairs: Positive | None
    precision: Precision
    tokens_per_batch: Positive


class EvaluateConfig(Settings):
    """The conditions of METHOD.md section 5, as shares (%) of all neurons that are silenced.

    By neuron score (`SCORES` of evaluate/selection.py): `hh_percents` on the HH test sets, `task_percents` on the
    benchmarks. `set_percents`: of the mixed RM's shared and only sets on the benchmarks. Tables show `task_percent`.
    """

    hh_percents: dict[Score, Distinct[Percent]]
    task_percents: dict[Score, Distinct[Percent]]
    set_percents: Distinct[Percent]
    task_percent: Percent
    precision: Precision
    tokens_per_batch: Positive

    @model_validator(mode="after")
    def _tables_have_their_percent(self) -> "EvaluateConfig":
        for key, percents in (
            ("task_percents.magnitude", self.task_percents.get("magnitude")),
            (
                "set_percents",
                self.set_percents,
            ),
        ):
            if self.task_percent not in (percents or ()):
                raise _refusal(
                    "task_percent",
                    f"{self.task_percent}, which tables show, is not in {key}: add it there",
                )
        return self


class Needs(Settings):
    """What a machine must have for the largest cell of a profile, and the disk for all, in GB (docs/COSTS.md).

    `gpu_gb`: memory of the GPU; without one, the machine must hold as much. `memory_gb`: of the machine, beside a GPU.
    `disk_gb`: outputs, DVC's copy of them, downloads and scratch.
    """

    gpu_gb: Positive
    memory_gb: Positive
    disk_gb: Positive


class Profile(Settings):
    """One way to run the pipeline; `title` heads every page of its reports.

    `required_claims` are those of METHOD.md section 7 without which `analyse.check` fails. `gpu` is what the preflight
    makes of a machine without one, `needs` are the sizes that it looks for. `threads` of
    a CPU that a model computes with, of which the bits of its results depend; null is as many as there are. `portable`:
    results are the same bits on every x86-64 CPU with AVX2 (base/portable.py); large models would be slow so.
    """

    title: Shown
    required_claims: tuple[ClaimId, ...]
    gpu: Literal["none", "useful", "required"]
    needs: Needs
    threads: Annotated[int, Field(gt=0, le=MOST_THREADS)] | None
    portable: bool
    data: DataConfig
    tokens: TokensConfig
    backbones: dict[Name, Backbone]
    train: TrainConfig
    activations: ActivationsConfig
    evaluate: EvaluateConfig

    @model_validator(mode="after")
    def _portable_is_of_cpus(self) -> "Profile":
        if self.portable and (self.gpu != "none" or self.threads is None):
            raise ValueError(
                f"portable needs gpu none (is {self.gpu}) and a number of threads (is {self.threads})"
            )
        return self

    @model_validator(mode="after")
    def _tokenizers_exist(self) -> "Profile":
        for name, backbone in self.backbones.items():
            key = f"backbones.{name}.tokenizer"
            if backbone.tokenizer not in self.tokens.tokenizers:
                known = ", ".join(self.tokens.tokenizers)
                raise _refusal(key, f"{backbone.tokenizer!r} is not one of {known}")
            trained = isinstance(self.tokens.tokenizers[backbone.tokenizer], TrainedTokenizer)
            if trained and isinstance(backbone.weights, HubFiles):
                raise _refusal(
                    key,
                    f"{backbone.tokenizer!r} is trained here: weights of the hub know their own ids only",
                )
        return self

    @model_validator(mode="after")
    def _chunks_have_positions(self) -> "Profile":
        for name, backbone in self.backbones.items():
            life = (
                backbone.weights.pretraining
                if isinstance(backbone.weights, RandomWeights)
                else None
            )
            if life and life.length > self.tokens.max_length:
                raise _refusal(
                    f"backbones.{name}.weights.pretraining.length",
                    f"{life.length} tokens, but the backbone has {self.tokens.max_length} positions: lower it, or "
                    "raise tokens.max_length",
                )
        return self


class Params(Settings):
    """The whole of params.yaml."""

    grid: Grid
    profiles: dict[Name, Profile]

    @model_validator(mode="after")
    def _profiles_fill_the_grid(self) -> "Params":
        if set(self.profiles) != set(self.grid.profiles):
            names = ", ".join(self.grid.profiles)
            raise _refusal("profiles", f"{', '.join(self.profiles)}: grid.profiles has {names}")
        for name, profile in self.profiles.items():
            if set(profile.backbones) != set(self.grid.axes(name).backbones):
                names = ", ".join(self.grid.axes(name).backbones)
                raise _refusal(
                    f"profiles.{name}.backbones", f"{', '.join(profile.backbones)}: must be {names}"
                )
            if set(profile.train.epochs) != set(self.grid.objectives):
                names = ", ".join(self.grid.objectives)
                raise _refusal(
                    f"profiles.{name}.train.epochs",
                    f"of {', '.join(profile.train.epochs)}: must be of {names}",
                )
        return self

    def refuse_unknown(self, profiles: Iterable[str]) -> None:
        """Raises UserError that names the profiles that are not here."""
        if unknown := set(profiles) - set(self.profiles):
            raise UserError(
                f"no profile {', '.join(sorted(unknown))}: params.yaml has {', '.join(self.profiles)}"
            )


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml; raises UserError with the path of each key at fault."""
    try:
        # YAML 1.2, as DVC reads it: 5e-5 is a number there, and `no` a text
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.absolute()}: not found; run from the repository root") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error
    return parse_params(raw, str(path))


def parse_params(raw: Any, name: str = "params.yaml") -> Params:
    """Check an already parsed params.yaml; raises UserError with the path of each key at fault."""
    try:
        written = json.dumps(raw, default=_date)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{name} holds what is no setting: {error}") from error
    try:
        # Strict JSON mode, because YAML sequences must become tuples but "3" must not become 3.
        return Params.model_validate_json(written)
    except ValidationError as error:
        raise UserError(
            "\n".join([f"{name} is refused:", *(_explain(e, raw) for e in error.errors())])
        ) from error


def _date(value: object) -> str:
    """Return a date as the text that it is in a title or a revision; TypeError for what else JSON does not know."""
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} is neither a text, a number, a list nor a section")


def _explain(error: Mapping[str, Any], raw: Any) -> str:
    keys: list[str] = []
    node = raw
    parents = [*error["loc"]]
    # a `_refusal` has its key apart, below the section that was checked
    last = error.get("ctx", {}).get("key") or (parents.pop() if parents else "(top level)")
    for part in parents:
        if isinstance(node, dict) and part not in node:
            continue  # pydantic puts the chosen member of a union ("hub") into the path; the file has no such key
        keys.append(str(part))
        node = node[part]
    keys += [] if last == "[key]" else [str(last)]  # then it is the key before that is at fault
    shown = "" if isinstance(error["input"], dict | list) else f" (got {error['input']!r})"
    return f"  {'.'.join(keys)}: {error['msg'].removeprefix('Value error, ')}{shown}"
