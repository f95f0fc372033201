"""Cost grows as the work: tokens computed exactly so, and memory not at all where it need not."""

import gc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rm_tension.activations.stats import collect
from rm_tension.analyse import stage as analyse
from rm_tension.backbone.neurons import neuron_shape
from rm_tension.base.grid import trios
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model.device import Compute, TokenBudget, make_accelerator
from rm_tension.model.reward_model import load_reward_model
from rm_tension.model.rows import row_length
from rm_tension.train.training import Pairs, train
from samples import RECIPE, random_items, text
from synthetic import small_params, write_profile

pytestmark = pytest.mark.slow

CPU = Compute(torch.device("cpu"), "float32")
BUDGET = 60
TIMES = (1, 2, 4)


def trained(model, backbone, items, folder):
    data = Pairs([str(number) for number in range(len(items))], items)
    accelerator = make_accelerator("float32")
    state = folder / f"state-{len(items)}"
    train(
        model,
        data,
        RECIPE,
        epochs=1,
        seed=0,
        accelerator=accelerator,
        budget=TokenBudget(BUDGET),
        state=state,
        progress="",
    )


def summed(model, backbone, items, folder):
    collect({"rm": model}, backbone, items, CPU, TokenBudget(BUDGET), "")


def scored(model, backbone, items, folder):
    Scorer(items, TokenBudget(BUDGET)).score(model, CPU, "")


WORK = pytest.mark.parametrize(("work", "models"), [(trained, 1), (summed, 2), (scored, 1)])


@contextmanager
def counted(*models):
    """How many tokens go through the models: a list to be summed."""
    seen = []
    handles = [
        model.get_input_embeddings().register_forward_hook(
            lambda _module, inputs, _output: seen.append(inputs[0].numel())
        )
        for model in models
    ]
    yield seen
    for handle in handles:
        handle.remove()


@WORK
def test_tokens_computed_are_those_of_the_rows(model, backbone, tmp_path, work, models):
    untrained = load_reward_model(backbone)
    for one in (model, untrained):
        neuron_shape(one)  # where neurons are is found once, by a pass of two tokens
    items = random_items(0, 12)
    found = {}
    for times in TIMES:
        with counted(model, untrained) as seen:
            work(model, untrained, items * times, tmp_path)
        found[times] = sum(seen)
    assert found == {times: times * models * sum(map(row_length, items)) for times in TIMES}


def test_tokens_of_many_answers_are_linear_too(model):
    generator = np.random.default_rng(0)
    prefix, answers = text(generator, 10), [text(generator, 9) for _ in range(80)]
    for count in (20, 40, 80):
        item = [np.concatenate([prefix, answer]) for answer in answers[:count]]
        with counted(model) as seen:
            Scorer([item], TokenBudget(100)).score(model, CPU, "")
        assert (
            sum(seen) == 9 * count + 10 * count / 10
        )  # the prefix once in each row of ten answers


class Held(TorchDispatchMode):
    """The most bytes of floating-point tensors that torch held at a time, of those made meanwhile."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self._known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self._see(tensor.untyped_storage())
        self.most = max(self.most, self.now)
        return found

    def _see(self, storage):
        if storage not in self._known:
            self._known.add(storage)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size):
        self.now -= size


@WORK
def test_tensors_do_not_grow_with_the_pairs(model, backbone, tmp_path, work, models):
    """What grows with them are lengths, places and results, some bytes a pair; here a pair's activations are KiB."""
    untrained, generator = load_reward_model(backbone), np.random.default_rng(0)
    items = [[text(generator, 20), text(generator, 20)] for _ in range(64)]
    work(model, untrained, items[:8], tmp_path)  # what is made once
    most = {}
    for count in (16, 64):
        gc.collect()
        with Held() as held:
            work(model, untrained, items[:count], tmp_path)
        most[count] = held.most
    assert most[16] > 10_000
    assert most[64] - most[16] < 48 * 64


class SecondTrioError(Exception):
    """Ends an analysis of which no more is asked."""


def test_the_analysis_holds_the_rewards_of_one_trio_at_a_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_profile(tmp_path, list(trios(small_params().grid, "mini"))[:2])
    read, before = analyse.read_scored, []

    def watched(*arguments):
        if before:
            gc.collect()
            assert all(earlier() is None for earlier in before)
            raise SecondTrioError
        scored = read(*arguments)
        arrays = (scored, owner(scored["reward"]), owner(scored["item"]))
        before.extend(map(weakref.ref, arrays))
        return scored

    monkeypatch.setattr(analyse, "read_scored", watched)
    with pytest.raises(SecondTrioError):
        analyse.main(profile="mini")


def owner(column):
    """The array whose memory a column is."""
    array = column.to_numpy()
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
