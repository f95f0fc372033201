"""params.yaml as frozen models: the one place that knows its keys.

Unknown keys, wrong types and impossible values are refused with the path of the key, e.g.
`profiles.mini.evaluate.hh_percents.random.3: Input should be less than or equal to 100 (got 120)`.
What the settings alone decide is decided here, before the first stage; no stage checks it again.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rm_tension.base.errors import UserError
from rm_tension.paper.pairs import PAIR_DATASETS, SOURCES
from rm_tension.paper.tasks import BENCHMARKS, SUBSETS, TASKS

# The parts that the paper's three objectives play in its tables and claims
Role = Literal["helpful", "harmless", "mixed"]
Family = Literal["gpt2", "llama"]
Dtype = Literal["float32", "bfloat16"]
Precision = Literal["float32", "tf32", "bfloat16"]
ClaimId = Literal[
    "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11",
    "C12", "C13", "C14", "C15", "C16", "C17", "C18", "C19", "C20", "C21",
]  # fmt: skip
ROLES: tuple[Role, ...] = get_args(Role)
SUBSET = "-subset"  # behind the names of stages of profiles that have a part of the grid
TestFiles = Mapping[str, tuple[str, ...]]  # sources of pairs, by objective

# What LaTeX with these fonts can print: Latin letters but for ten, accents, usual punctuation; and
# no $, between two of which figures and pages look for a formula.
PRINTABLE = r"(?![$ĦħĸĿŀŉŦŧſ‛])[ -~\u00a0-\u017f\u2013\u2014\u2018-\u201d\u2026]"
MOST_THREADS = 1024
LARGEST = 2**20  # tokens of a vocabulary or a text


def _shown(text: str) -> str:
    refused = ", ".join(map(repr, dict.fromkeys(re.sub(PRINTABLE, "", text))))
    if refused or not text.strip():
        what = f"{refused} cannot be printed" if refused else "nothing to print"
        raise ValueError(f"{what} in tables and figures: write Latin letters and digits")
    return text


def _of_the_hub(repo: str) -> str:
    part = r"\w(?:[\w.-]*\w)?"
    name = re.fullmatch(rf"(?:{part}/)?{part}", repo, re.ASCII)
    if not name or re.search(r"--|\.\.|\.git$", repo):
        raise ValueError(
            "not the OWNER/NAME of a repository of the hub; files of this machine go into the "
            "hub's cache"
        )
    return repo


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [str(value) for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{', '.join(twice)} given twice: leave one out")
    return values


def _other_keys(mapping: Iterable[str], names: Iterable[str]) -> str:
    """Return what is wrong with a mapping that must have these keys, if anything is."""
    if set(mapping) == set(names):
        return ""
    return f"of {', '.join(mapping)}: must be of {', '.join(names)}"


def _with_keys(*names: str) -> AfterValidator:
    def check(mapping: dict[str, Any]) -> dict[str, Any]:
        if fault := _other_keys(mapping, names):
            raise ValueError(fault)
        return mapping

    return AfterValidator(check)


def _known(name: str, names: Iterable[str], what: str) -> str:
    if name not in names:
        raise ValueError(f"{what}: there are {', '.join(names)}")
    return name


def _of_sources(name: str) -> str:
    return _known(name, SOURCES, "not a source of paper/pairs.csv")


def _with_places(template: str) -> str:
    if re.findall(r"{prompt}|{answer}", template) != ["{prompt}", "{answer}"]:
        raise ValueError("template must hold {prompt} and then {answer}, once each")
    return template


def _of_scores(name: str) -> str:
    from rm_tension.evaluate.scores import SCORES  # numpy, which importing this must not load

    return _known(name, SCORES, "no score of neurons")


def _of_controls(name: str) -> str:
    from rm_tension.evaluate.controls import CONTROLS  # as above

    return _known(name, CONTROLS, "no control")


Value = TypeVar("Value")
Distinct = Annotated[tuple[Value, ...], AfterValidator(_distinct)]
Some = Annotated[tuple[Value, ...], Field(min_length=1), AfterValidator(_distinct)]
Positive = Annotated[int, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Percent = Annotated[int, Field(gt=0, le=100)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what numpy, pandas and torch take
Shown = Annotated[str, AfterValidator(_shown)]
ObjectiveName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9\-]*$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")]
Source = Annotated[str, AfterValidator(_of_sources)]
PairNumbers = Annotated[dict[str, Positive], _with_keys(*SOURCES)]  # by source
Score = Annotated[str, AfterValidator(_of_scores)]  # of neurons: evaluate/scores.py
Control = Annotated[str, AfterValidator(_of_controls)]  # evaluate/controls.py
Template = Annotated[str, AfterValidator(_with_places)]


def _refusal(key: str, message: str) -> PydanticCustomError:
    """Return the error of a check of several keys, at a key of the section (`_explain`)."""
    return PydanticCustomError("setting", "{message}", {"key": key, "message": message})


def _refuse_other_keys(key: str, mapping: Iterable[str], names: Iterable[str]) -> None:
    if fault := _other_keys(mapping, names):
        raise _refusal(key, fault)


class Settings(BaseModel):
    """A part of params.yaml: no other keys, no other types, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Objective(Settings):
    """What reward models are trained for."""

    train: Some[Source]
    """Sources whose train files the objective is trained on."""
    test: Some[Source]
    """Sources whose test files its accuracy is measured on."""
    role: Role | None
    """Its part in the paper; null is none: shown in the supplement, in no average or claim."""


class Style(Settings):
    """How tables and figures show an objective's reward models."""

    label: Shown  # before "RM"
    color: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]


class Axes(Settings):
    """Which reward models some profiles have."""

    profiles: Distinct[Name]  # that have these backbones and seeds
    backbones: Distinct[Name]  # keys of `backbones` of each of the profiles
    seeds: Distinct[Seed]  # of the head, the order of the pairs, and random neuron scores

    @model_validator(mode="after")
    def _profiles_have_models(self) -> "Axes":
        for axis in ("backbones", "seeds"):
            if self.profiles and not getattr(self, axis):
                names = ", ".join(self.profiles)
                raise _refusal(axis, f"empty, but {names} must have at least one")
        return self


class Grid(Settings):
    """One reward model per backbone, objective and seed (METHOD.md section 1)."""

    profiles: Some[Name]
    """All keys of `profiles` in params.yaml."""
    full: Axes
    """Backbones and seeds of the profiles that have the full grid."""
    subset: Axes
    """Those of the profiles with a part of it, in stages called `train-subset`, not `train`."""
    objectives: Some[ObjectiveName]
    """All keys of `objectives` in params.yaml."""
    not_ablated: Distinct[str]
    """Parts of the suites that no table has: suite/subset, with shell wildcards."""

    @model_validator(mode="after")
    def _every_profile_has_axes(self) -> "Grid":
        named = [*self.full.profiles, *self.subset.profiles]
        if sorted(self.profiles) != sorted(named):
            ours, known = ", ".join(self.profiles), ", ".join(named)
            raise _refusal("profiles", f"{ours}: full and subset have {known}")
        return self

    @model_validator(mode="after")
    def _some_tasks_are_ablated(self) -> "Grid":
        for pattern in self.not_ablated:
            if not any(fnmatch(f"{subset.suite}/{subset.name}", pattern) for subset in SUBSETS):
                known = "suite/subset, as in paper/subsets.csv, with shell wildcards"
                raise _refusal("not_ablated", f"{pattern!r} fits no part of a suite: write {known}")
        used = [subset for task in TASKS for subset in task.subsets]
        if not any(self.ablates(subset.suite, subset.name) for subset in used):
            raise _refusal("not_ablated", "leaves no task to ablate neurons on: leave one out")
        return self

    def axes(self, profile: str) -> Axes:
        """Return the backbones and seeds of a profile."""
        return self.subset if profile in self.subset.profiles else self.full

    def stage(self, kind: str, profile: str, key: str) -> str:
        """Return a stage's name in dvc.yaml, such as train@mini-gpt2-small-helpful-0."""
        return f"{kind}{SUBSET if profile in self.subset.profiles else ''}@{profile}-{key}"

    def ablates(self, suite: str, subset: str) -> bool:
        """Return whether a part of a suite is scored under ablations, too."""
        return not any(fnmatch(f"{suite}/{subset}", pattern) for pattern in self.not_ablated)


class HubRepo(Settings):
    """A repository of the Hugging Face hub at a revision."""

    repo: Annotated[str, AfterValidator(_of_the_hub)]  # OWNER/NAME
    revision: Annotated[str, Field(pattern=r"^[!-~]+$")]  # a commit, a tag or a branch


class HubData(Settings):
    """The real data sets."""

    kind: Literal["hub"]  # of source
    stand_ins: Shown | None
    """What is taken for the official files, for every report; null refuses other files."""
    repositories: Annotated[dict[str, HubRepo], _with_keys(*PAIR_DATASETS, *BENCHMARKS)]


class MiniatureData(Settings):
    """Generated data in the official files' formats."""

    kind: Literal["miniature"]  # of source
    seed: Seed  # of all texts
    train_pairs: PairNumbers
    test_pairs: PairNumbers
    items_per_task: Positive  # prompts of each part of a suite
    label_noise: Annotated[float, Field(ge=0, lt=0.5)]  # share of pairs with the label flipped


class DataConfig(Settings):
    """Where data come from, and caps: seeded random samples; null keeps all.

    Pairs are capped over all files that an objective names, taken together: a file keeps its share,
    and an objective has what was drawn of its files. So the mixed objective has its files in the
    proportion of the full files (the paper's is 2.8 helpful pairs for a harmless one).
    """

    source: Annotated[HubData | MiniatureData, Field(discriminator="kind")]
    max_train_pairs: Positive | None  # of all train files together
    max_test_pairs: Positive | None  # of all test files together
    max_items_per_task: Positive | None  # of each part of a suite


class HubFiles(HubRepo):
    """A tokenizer or a model's weights."""

    kind: Literal["hub"]  # of tokenizer or weights


class TrainedTokenizer(Settings):
    """A byte-level BPE trained on the profile's training texts."""

    kind: Literal["trained"]  # of tokenizer
    vocabulary: Annotated[int, Field(ge=300, le=LARGEST)]  # tokens, the 256 bytes and EOS included


class TokensConfig(Settings):
    """How texts become tokens."""

    max_length: Annotated[int, Field(ge=2, le=LARGEST)]
    """Tokens of a text: longer ones are cut, and training drops pairs longer with an EOS."""
    template: Template
    """The text of a benchmark item, with {prompt} and {answer}; pairs are whole dialogues."""
    tokenizers: dict[Name, Annotated[HubFiles | TrainedTokenizer, Field(discriminator="kind")]]
    """By the names that backbones use."""


class Pretraining(Settings):
    """Language modelling on the profile's training texts."""

    steps: Positive  # of the optimiser
    chunks_per_step: Positive  # the batch size
    length: Annotated[int, Field(ge=2)]  # of a chunk, in tokens
    learning_rate: Annotated[float, Field(gt=0)]  # of the first step; falls linearly to 0


class RandomWeights(Settings):
    """A randomly initialised backbone."""

    kind: Literal["random"]  # of weights
    family: Family  # which architecture of transformers
    layers: Positive  # blocks
    width: Positive  # of the residual stream; the MLP is four times as wide
    heads: Positive  # of attention, in each block
    init_std: Annotated[float, Field(gt=0)]  # standard deviation of the weights
    gain_spread: Annotated[float, Field(ge=0)]
    """Standard deviation of the logarithm of a factor on each neuron's input weights: the larger,
    the fewer neurons matter."""
    seed: Seed  # of weights and pretraining
    pretraining: Pretraining | None  # before any reward training; null is none

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "RandomWeights":
        if self.width % (2 * self.heads):
            message = f"{self.width} must be a multiple of twice the heads ({self.heads})"
            raise _refusal("width", message)
        return self


class Backbone(Settings):
    """A pretrained language model; its key in `backbones` is that of the grid."""

    name: Shown  # in tables and figures
    tokenizer: Name  # a key of `tokens.tokenizers`
    weights: Annotated[HubFiles | RandomWeights, Field(discriminator="kind")]
    """What reward models are trained from."""


class TrainConfig(Settings):
    """The recipe of METHOD.md section 1."""

    learning_rate: Annotated[float, Field(gt=0)]  # of the first step; falls linearly to 0
    pairs_per_step: Positive  # the batch size
    betas: tuple[Beta, Beta]  # of AdamW
    weight_decay: Annotated[float, Field(ge=0)]  # of AdamW
    max_grad_norm: Annotated[float, Field(gt=0)]  # gradients are clipped to this norm
    head_std: Annotated[float, Field(gt=0)]  # standard deviation of the new head's weights
    weights: Dtype  # type of weights and optimiser state
    precision: Precision  # of the products
    tokens_per_micro_batch: Positive  # changes memory, not gradients
    save_every_minutes: Annotated[float, Field(ge=0)]
    """What a killed training loses at most; 0 saves after every step."""

    @model_validator(mode="after")
    def _weights_have_the_precision(self) -> "TrainConfig":
        if self.weights == "bfloat16" != self.precision:
            message = f"{self.precision}: weights in bfloat16 are multiplied in bfloat16"
            raise _refusal("precision", message)
        return self


class AttributionConfig(Settings):
    """The backward passes of the attribution score (METHOD.md section 10)."""

    pairs: Positive  # size of a seeded sample of the RM's training split
    tokens_per_batch: Positive
    """Of a backward pass, which keeps all layers: changes memory, not results beyond rounding."""


class ActivationsConfig(Settings):
    """Activation statistics (METHOD.md section 4)."""

    max_pairs: Positive | None
    """Size of a seeded sample of an RM's training split, long pairs too; null is all of it."""
    precision: Precision  # of the products
    tokens_per_batch: Positive  # changes memory, not results beyond rounding
    attribution: AttributionConfig


class ControlsConfig(Settings):
    """Ablations that the paper lacks (METHOD.md section 10)."""

    percents: Distinct[Percent]
    """Of the top neurons by magnitude that controls are made of."""
    hh: dict[Control, Positive]
    """How often each is drawn for the HH test sets; what is not drawn at random counts once."""
    tasks: dict[Control, Positive]  # the same for the benchmarks


class GroupsConfig(Settings):
    """Groups of neurons by each score, whose effects are measured (METHOD.md section 10)."""

    number: Annotated[int, Field(ge=3)]  # of groups; 10 are deciles
    pairs: Positive  # size of a sample of each objective's HH test pairs, the same for all seeds


class EvaluateConfig(Settings):
    """The conditions of METHOD.md section 5, as shares (%) of all neurons that are silenced."""

    hh_percents: dict[Score, Distinct[Percent]]  # by neuron score, on the HH test sets
    task_percents: dict[Score, Distinct[Percent]]  # by neuron score, on the benchmarks
    set_percents: Distinct[Percent]
    """Of the tops whose shared and only sets are silenced in the mixed RM, on the benchmarks."""
    task_percent: Percent  # the share that tables show
    controls: ControlsConfig
    groups: GroupsConfig
    precision: Precision  # of the products
    tokens_per_batch: Positive  # changes memory, not results beyond rounding

    @model_validator(mode="after")
    def _tables_have_their_percent(self) -> "EvaluateConfig":
        magnitude = self.task_percents.get("magnitude", ())
        shown = {"task_percents.magnitude": magnitude, "set_percents": self.set_percents}
        for key, percents in shown.items():
            if self.task_percent not in percents:
                message = f"{self.task_percent}, which tables show, is not in {key}: add it there"
                raise _refusal("task_percent", message)
        return self


class Needs(Settings):
    """What a machine must have for a profile, in GB (docs/RUN.md)."""

    gpu_gb: Positive
    """GPU memory for the largest cell; without a GPU, the machine must have as much."""
    memory_gb: Positive  # of the machine, beside a GPU, for the largest cell
    disk_gb: Positive  # outputs of all cells, DVC's copy of them, downloads and scratch


class Profile(Settings):
    """One way to run the pipeline."""

    title: Shown  # heads every page of its reports
    required_claims: tuple[ClaimId, ...]
    """Of METHOD.md section 7: `rm-tension claims` fails where one is not reproduced."""
    gpu: Literal["none", "useful", "required"]  # what preflight makes of a machine without one
    needs: Needs  # the sizes that preflight looks for
    threads: Annotated[int, Field(gt=0, le=MOST_THREADS)] | None
    """Of a CPU that a model computes with; bits of results depend on it. Null is all there are."""
    portable: bool
    """The same bits on every x86-64 CPU with AVX2 (base/portable.py); slow for large models."""
    data: DataConfig  # this and the sections below: by the stages that read them
    tokens: TokensConfig
    backbones: dict[Name, Backbone]  # by the names of the grid
    epochs: dict[Name, Positive]
    """Passes over the pairs, by objective: apart, so that one more makes no training stale."""
    train: TrainConfig
    activations: ActivationsConfig
    evaluate: EvaluateConfig

    def memory_gb(self, has_gpu: bool) -> float:
        """Return the GB of memory needed: where a CPU may do, also what would lie in a GPU's."""
        on_cpu = self.gpu == "useful" and not has_gpu
        return self.needs.gpu_gb if on_cpu else self.needs.memory_gb

    @model_validator(mode="after")
    def _portable_is_of_cpus(self) -> "Profile":
        if self.portable and (self.gpu != "none" or self.threads is None):
            needs = f"gpu none (is {self.gpu}) and a number of threads (is {self.threads})"
            raise ValueError(f"portable needs {needs}")
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
                what = "is trained here: weights of the hub know their own ids only"
                raise _refusal(key, f"{backbone.tokenizer!r} {what}")
        return self

    @model_validator(mode="after")
    def _chunks_have_positions(self) -> "Profile":
        for name, backbone in self.backbones.items():
            pretraining = getattr(backbone.weights, "pretraining", None)
            if pretraining and pretraining.length > self.tokens.max_length:
                raise _refusal(
                    f"backbones.{name}.weights.pretraining.length",
                    f"{pretraining.length} tokens, but the backbone has {self.tokens.max_length} "
                    "positions: lower it, or raise tokens.max_length",
                )
        return self


class Params(Settings):
    """All of params.yaml."""

    grid: Grid
    objectives: dict[Name, Objective]  # by name
    styles: dict[Name, Style]  # by objective
    profiles: dict[Name, Profile]  # by name

    @model_validator(mode="after")
    def _every_role_has_an_objective(self) -> "Params":
        _refuse_other_keys("objectives", self.objectives, self.grid.objectives)
        _refuse_other_keys("styles", self.styles, self.grid.objectives)
        for role in ROLES:
            names = [name for name, own in self.objectives.items() if own.role == role]
            if len(names) != 1:
                fault = f"of role {role}: {', '.join(names) or 'none'}; must be one"
                raise _refusal("objectives", fault)
            if role in self.objectives and [role] != names:
                message = f"is called as the role of {names[0]}: rename it, for results go by role"
                raise _refusal(f"objectives.{role}", message)
        return self

    @model_validator(mode="after")
    def _profiles_fill_the_grid(self) -> "Params":
        _refuse_other_keys("profiles", self.profiles, self.grid.profiles)
        for name, profile in self.profiles.items():
            key, backbones = f"profiles.{name}", self.grid.axes(name).backbones
            _refuse_other_keys(f"{key}.backbones", profile.backbones, backbones)
            _refuse_other_keys(f"{key}.epochs", profile.epochs, self.grid.objectives)
        return self

    @property
    def test_files(self) -> TestFiles:
        """Return the files that each objective is tested on."""
        return {name: objective.test for name, objective in self.objectives.items()}

    @property
    def roles(self) -> dict[str, str]:
        """Return what stands for each objective in averages: its role, or its name without one.

        The paper's come first.
        """
        names = {self.with_role(role): role for role in ROLES}
        return names | {name: name for name in self.objectives if name not in names}

    def with_role(self, role: Role) -> str:
        """Return the name of the objective that plays a part of the paper."""
        return next(name for name, own in self.objectives.items() if own.role == role)

    def refuse_unknown(self, profiles: Iterable[str]) -> None:
        """Raise UserError that names the profiles that are not here."""
        if unknown := set(profiles) - set(self.profiles):
            names = ", ".join(sorted(unknown))
            raise UserError(f"no profile {names}: params.yaml has {', '.join(self.profiles)}")


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml. Raise UserError with the path of each key at fault."""
    try:
        # YAML 1.2, as DVC reads it: 5e-5 is a number there, and `no` a text
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.absolute()}: not found; run from the repository root") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error
    return parse_params(raw, str(path))


def parse_params(raw: Any, name: str = "params.yaml") -> Params:
    """Check an already parsed params.yaml. Raise UserError with the path of each key at fault."""
    try:
        written = json.dumps(raw)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{name} holds what is no setting: {error}; quote dates") from error
    try:
        # Strict JSON mode, because YAML sequences must become tuples but "3" must not become 3.
        return Params.model_validate_json(written)
    except ValidationError as error:
        faults = [_explain(fault, raw) for fault in error.errors()]
        raise UserError("\n".join([f"{name} is refused:", *faults])) from error


def _explain(error: Mapping[str, Any], raw: Any) -> str:
    keys: list[str] = []
    node = raw
    parents = [*error["loc"]]
    # a `_refusal` has its key apart, below the section that was checked
    last = error.get("ctx", {}).get("key") or (parents.pop() if parents else "(top level)")
    for part in parents:
        if isinstance(node, dict) and part not in node:
            continue  # the chosen member of a union ("hub"), which is no key of the file
        keys.append(str(part))
        node = node[part]
    keys += [] if last == "[key]" else [str(last)]  # then it is the key before that is at fault
    shown = "" if isinstance(error["input"], dict | list) else f" (got {error['input']!r})"
    return f"  {'.'.join(keys)}: {error['msg'].removeprefix('Value error, ')}{shown}"
