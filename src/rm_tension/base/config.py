"""params.yaml as frozen models: the one place that knows its keys.

Unknown keys, wrong types and impossible values are refused with the path of the key, e.g.
`profiles.mini.evaluate.hh_percents.random.3: Input should be less than or equal to 100 (got 120)`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rm_tension.base.errors import UserError

Objective = Literal["helpful", "harmless", "mixed"]
Family = Literal["gpt2", "llama"]
Dtype = Literal["float32", "bfloat16"]
Precision = Literal["float32", "tf32", "bfloat16"]
ClaimId = Literal[
    "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11",
    "C12", "C13", "C14", "C15", "C16", "C17", "C18", "C19", "C20", "C21",
]  # fmt: skip
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
TRIO = "-trio"  # behind the names of stages of profiles that have a part of the grid
HH = "hh-rlhf"  # the data set of the pairs, beside the suites of paper/tasks.py
HHSource = Literal["helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base"]

TestFiles = Mapping[str, tuple[HHSource, ...]]  # of HH-RLHF, by objective
Positive = Annotated[int, Field(gt=0)]
Percent = Annotated[int, Field(gt=0, le=100)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what numpy and pandas take
# What LaTeX can print in a table: Latin letters, their accents, and the usual punctuation.
Shown = Annotated[str, Field(pattern=r"^[ -~\u00a0-\u017f\u2013\u2014\u2018-\u201d\u2026]+$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")]


class Settings(BaseModel):
    """A part of params.yaml: no other keys, no other types, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Pairs(Settings):
    """The files of HH-RLHF that an objective is trained and tested on."""

    train: tuple[HHSource, ...]
    test: tuple[HHSource, ...]


class Axes(Settings):
    """Which reward models the `profiles` have."""

    profiles: tuple[Name, ...]
    backbones: tuple[Name, ...]
    seeds: tuple[Seed, ...]


class Grid(Settings):
    """One reward model per backbone x objective x seed (METHOD.md section 1) in the profiles of `whole`.

    Those of `trio` have a part of it, in stages that are called `train-trio` instead of `train`. `not_ablated` are the
    parts of the suites that no table has, as suite/subset with shell wildcards.
    """

    profiles: tuple[Name, ...]
    whole: Axes
    trio: Axes
    objectives: tuple[Objective, ...]
    pairs: dict[Objective, Pairs]
    not_ablated: tuple[str, ...]

    @model_validator(mode="after")
    def _every_objective_has_pairs(self) -> "Grid":
        if set(self.objectives) != set(self.pairs):
            raise ValueError(f"pairs must be those of the objectives {', '.join(self.objectives)}")
        return self

    @model_validator(mode="after")
    def _every_profile_has_axes(self) -> "Grid":
        if sorted(self.profiles) != sorted([*self.whole.profiles, *self.trio.profiles]):
            raise ValueError("profiles must be those of whole and of trio")
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

    repo: str
    revision: str


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
    seed: int
    train_pairs: dict[HHSource, Positive]
    test_pairs: dict[HHSource, Positive]
    items_per_task: Positive
    label_noise: Annotated[float, Field(ge=0, lt=0.5)]


class DataConfig(Settings):
    """Caps are seeded random samples; null keeps all. `max_train_pairs` caps the helpful and the harmless pairs each,
    so that the mixed objective stays the union of both; `max_test_pairs` caps each of the four test files."""

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
    vocabulary: Annotated[int, Field(ge=300)]


def _with_places(template: str) -> str:
    if re.findall(r"{prompt}|{answer}", template) != ["{prompt}", "{answer}"]:
        raise ValueError("template must hold {prompt} and then {answer}, once each")
    return template


Template = Annotated[str, AfterValidator(_with_places)]


class TokensConfig(Settings):
    """`max_length` in tokens: training pairs that would be longer with an EOS are dropped, texts to score are cut."""

    max_length: Annotated[int, Field(ge=2)]
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
    seed: int
    pretraining: Pretraining | None

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "RandomWeights":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of twice the heads ({self.heads})")
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
            raise ValueError(f"precision is {self.precision}, but weights in bfloat16 are multiplied in bfloat16")
        return self


class ActivationsConfig(Settings):
    """`max_pairs`: a seeded sample of the RM's training split; null is all of it."""

    max_pairs: Positive | None
    precision: Precision
    tokens_per_batch: Positive


class EvaluateConfig(Settings):
    """The conditions of METHOD.md section 5, as shares (%) of all neurons that are silenced.

    By neuron score (`SCORES` of evaluate/selection.py): `hh_percents` on the HH test sets, `task_percents` on the
    benchmarks. `set_percents`: of the mixed RM's shared and only sets on the benchmarks. Tables show `task_percent`.
    """

    hh_percents: dict[Name, tuple[Percent, ...]]
    task_percents: dict[Name, tuple[Percent, ...]]
    set_percents: tuple[Percent, ...]
    task_percent: Percent
    precision: Precision
    tokens_per_batch: Positive

    @model_validator(mode="after")
    def _tables_have_their_percent(self) -> "EvaluateConfig":
        if not {self.task_percent} <= {*self.task_percents.get("magnitude", ())} & {*self.set_percents}:
            raise ValueError(f"task_percents.magnitude and set_percents must hold task_percent, {self.task_percent}")
        return self


class Profile(Settings):
    """One way to run the pipeline; `title` heads every page of its reports.

    `required_claims` are those of METHOD.md section 7 without which `analyse.check` fails. `gpu` is what the preflight
    makes of a machine without one; how much memory and disk a machine needs is estimated (`estimate/`). `threads` of
    a CPU that a model computes with, of which the bits of its results depend; null is as many as there are. `portable`:
    results are the same bits on every x86-64 CPU with AVX2 (base/portable.py); large models would be slow so.
    """

    title: Shown
    required_claims: tuple[ClaimId, ...]
    gpu: Literal["none", "useful", "required"]
    threads: Positive | None
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
            raise ValueError(f"portable needs gpu none (is {self.gpu}) and a number of threads (is {self.threads})")
        return self

    @model_validator(mode="after")
    def _tokenizers_exist(self) -> "Profile":
        for key, backbone in self.backbones.items():
            if backbone.tokenizer not in self.tokens.tokenizers:
                known = ", ".join(self.tokens.tokenizers)
                raise ValueError(f"backbones.{key}.tokenizer: {backbone.tokenizer!r} is not one of {known}")
        return self


class Params(Settings):
    """The whole of params.yaml."""

    grid: Grid
    profiles: dict[Name, Profile]

    @model_validator(mode="after")
    def _profiles_fill_the_grid(self) -> "Params":
        if set(self.profiles) != set(self.grid.profiles):
            raise ValueError(f"grid.profiles {list(self.grid.profiles)} and profiles {list(self.profiles)} differ")
        for name, profile in self.profiles.items():
            if set(profile.backbones) != set(self.grid.axes(name).backbones):
                raise ValueError(f"profiles.{name}.backbones must be {', '.join(self.grid.axes(name).backbones)}")
            if set(profile.train.epochs) != set(self.grid.objectives):
                raise ValueError(f"profiles.{name}.train.epochs must be those of grid.objectives")
        return self

    def refuse_unknown(self, profiles: Iterable[str]) -> None:
        """Raises UserError that names the profiles that are not here."""
        if unknown := set(profiles) - set(self.profiles):
            raise UserError(f"no profile {', '.join(sorted(unknown))}: params.yaml has {', '.join(self.profiles)}")


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml; raises UserError with the path of each key at fault."""
    try:
        # YAML 1.2, as DVC reads it: 5e-5 is a number there, and `no` a text
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.absolute()}: not found; run from the repository root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error
    return parse_params(raw, str(path))


def parse_params(raw: Any, name: str = "params.yaml") -> Params:
    """Check an already parsed params.yaml."""
    try:
        # Strict JSON mode, because YAML sequences must become tuples but "3" must not become 3.
        return Params.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise UserError("\n".join([f"{name} is refused:", *(_explain(e, raw) for e in error.errors())])) from error


def _explain(error: Mapping[str, Any], raw: Any) -> str:
    *parents, last = error["loc"] or ("(top level)",)
    keys, node = [], raw
    for part in parents:
        if isinstance(node, dict) and part not in node:
            continue  # pydantic puts the chosen member of a union ("hub") into the path; the file has no such key
        keys.append(str(part))
        node = node[part]
    shown = "" if isinstance(error["input"], dict | list) else f" (got {error['input']!r})"
    return f"  {'.'.join([*keys, str(last)])}: {error['msg']}{shown}"
