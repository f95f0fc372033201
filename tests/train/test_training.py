"""The recipe of METHOD.md section 1: resumable to the bit, strict about NaN."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file

from rm_tension.base.errors import UserError
from rm_tension.model import attention
from rm_tension.model.device import TokenBudget, make_accelerator
from rm_tension.model.reward_model import new_reward_model
from rm_tension.train import state as training_state
from rm_tension.train import training
from rm_tension.train.training import Pairs, backward, plan, train
from samples import RECIPE, changed, random_items

OF_THE_MACHINE = {"seconds", "tokens_per_second", "memory_mib"}


@pytest.fixture(autouse=True)
def every_step_at_once(monkeypatch):
    monkeypatch.setattr(training, "FETCH_SECONDS", 0)


@pytest.fixture
def fresh(backbone):
    """Make the same new reward model each time."""
    return lambda dtype="float32": new_reward_model(backbone, 0, 0.5, dtype)


def pairs(count=18, seed=0):
    return Pairs([f"pair-{i}" for i in range(count)], random_items(seed, count))


def pairs_that_say_something():
    """64 pairs whose chosen side ends in 5, the rejected one in 6."""
    ends = np.array([5], dtype=np.int32), np.array([6], dtype=np.int32)
    items = [[np.append(item[0], end) for end in ends] for item in random_items(1, 64)]
    return Pairs([str(number) for number in range(64)], items)


def run(model, state, config=RECIPE, data=None, **more):
    settings = {
        "epochs": 2,
        "seed": 0,
        "budget": TokenBudget(config.tokens_per_micro_batch),
        **more,
    }
    if "accelerator" not in more:
        settings["accelerator"] = make_accelerator("float32")
    return train(model, data or pairs(), config, state=state, progress="test", **settings)


def stop_after_three_steps(model, state, number=signal.SIGTERM, **more):
    """Leave a state behind: the signal comes in the middle of things."""
    taken = []

    def on_step(metrics):
        taken.append(metrics)
        if len(taken) == 3:
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGINT)  # of the same wish, such as its launcher's

    with pytest.raises(SystemExit) as stop:
        run(model, state, on_step=on_step, **more)
    assert (stop.value.code, len(taken)) == (128 + number, 3)


def assert_same_weights(first, second):
    weights = second.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in first.state_dict().items())


def gradient(model, items, budget=10_000):
    margins = backward(model, items, make_accelerator("float32"), budget)
    parameters = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return margins, torch.cat(parameters)


def test_micro_batches_change_no_gradient_and_margins_are_those_of_each_pair(fresh):
    items, model = pairs().items, fresh()
    margins = torch.cat([gradient(model, [item])[0] for item in items])
    gradients = []
    for budget in (1, 60, 10_000):
        together, flat = gradient(fresh(), items, budget)
        torch.testing.assert_close(together, margins, rtol=1e-4, atol=1e-5)
        gradients.append(flat)
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-4, atol=1e-6)


def test_the_gradient_of_an_identical_pair_is_zero(fresh):
    """It stays in its batch, whose mean it is a part of (METHOD.md section 1)."""
    items = pairs(3).items
    _, without = gradient(fresh(), items)
    margins, with_it = gradient(fresh(), [*items, [items[0][0], items[0][0].copy()]])
    assert float(margins[-1]) == 0.0
    torch.testing.assert_close(with_it, without * 3 / 4, rtol=1e-4, atol=1e-6)


def test_training_learns_what_the_pairs_say(backbone, tmp_path):
    model = new_reward_model(backbone, 0, 0.02, "float32")
    history = run(model, tmp_path / "state", data=pairs_that_say_something())
    assert history[-1]["accuracy"] == 1.0
    assert history[-1]["loss"] < 0.2 < history[0]["loss"]
    assert [step["step"] for step in history] == list(range(32))
    rates = [step["learning_rate"] for step in history]
    assert rates == pytest.approx([0.01 * (1 - step / 32) for step in range(32)])


def test_every_epoch_has_every_pair_once_in_an_order_of_its_own():
    orders = []
    for seed in (0, 247):
        steps = plan(pairs=10, epochs=2, pairs_per_step=4, seed=seed)
        assert [len(step.pairs) for step in steps] == [4, 4, 2] * 2
        assert [step.number for step in steps] == list(range(6))
        for epoch in (0, 1):
            orders.append([i for step in steps if step.epoch == epoch for i in step.pairs])
            assert sorted(orders[-1]) == list(range(10))
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("weight", [float("nan"), 3e38], ids=["loss", "gradient"])
def test_a_run_that_is_not_finite_stops_and_names_step_and_pairs(fresh, tmp_path, weight):
    model = fresh()
    with torch.no_grad():
        model.score.weight.fill_(weight)
    message = r"step 0: loss .*gradient norm .*pair-\d+, pair-\d+.*learning_rate"
    with pytest.raises(UserError, match=message):
        run(model, tmp_path / "state")


def _train_and_save(backbone, state, out, kill_after=None):
    """Kill this process once it has taken so many steps, between two states."""
    torch.set_num_threads(1)
    taken = []

    def on_step(metrics):
        taken.append(metrics)
        if len(taken) == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    model = new_reward_model(backbone, 0, 0.5, "float32")
    always = changed(RECIPE, save_every_minutes=0)
    run(model, state, data=pairs(60), config=always, on_step=on_step)
    save_file(model.state_dict(), out)


@pytest.mark.parametrize("family", ["llama"], indirect=True)  # new processes take seconds
def test_a_run_killed_twice_ends_with_the_same_bits(backbone, tmp_path):
    context = multiprocessing.get_context("spawn")
    state, undisturbed, killed = (tmp_path / name for name in ("state", "undisturbed", "killed"))
    _train_and_save(backbone, tmp_path / "unused-state", undisturbed)
    for steps in (5, 4):
        arguments = (backbone, state, killed, steps)
        process = context.Process(target=_train_and_save, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert state.exists()
        assert not killed.exists()
    _train_and_save(backbone, state, killed)
    expected, weights = load_file(undisturbed), load_file(killed)
    assert all(torch.equal(expected[name], weights[name]) for name in expected)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_the_step_at_hand_and_the_next_resumes(
    fresh, tmp_path, capsys, number
):
    before, state = signal.getsignal(number), tmp_path / "state"
    stop_after_three_steps(fresh(), state, number)
    assert f"test: {number.name}: saved after step 3 to resume" in capsys.readouterr().err
    assert signal.getsignal(number) == before
    resumed, undisturbed = fresh(), fresh()
    histories = run(resumed, state), run(undisturbed, tmp_path / "other")
    assert "resuming after step 3" in capsys.readouterr().out
    assert_same_weights(resumed, undisturbed)
    one, other = ([{**step, **dict.fromkeys(OF_THE_MACHINE)} for step in h] for h in histories)
    assert one == other
    assert len(one) == 10


@pytest.mark.parametrize(("minutes", "saved"), [(1e9, False), (0, True)])
def test_a_state_is_saved_by_time(fresh, tmp_path, minutes, saved):
    run(fresh(), tmp_path / "state", config=changed(RECIPE, save_every_minutes=minutes))
    assert (tmp_path / "state").exists() == saved


def test_a_step_that_memory_does_not_suffice_for_is_taken_in_smaller_batches(
    fresh, tmp_path, monkeypatch, capsys
):
    expected, model, budget, rewards = fresh(), fresh(), TokenBudget(100), training.rewards
    run(expected, tmp_path / "expected", budget=TokenBudget(50))

    def small(model, rows):
        if rows.input_ids.numel() > 50:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return rewards(model, rows)

    monkeypatch.setattr(training, "rewards", small)
    run(model, tmp_path / "state", budget=budget)
    assert budget.tokens == 50
    assert "going on with 50 tokens at a time" in capsys.readouterr().err
    assert_same_weights(model, expected)


OTHER_RUNS = {
    "settings": {"config": changed(RECIPE, learning_rate=0.02)},
    "seed": {"seed": 247},
    "data": {"data": pairs(seed=1)},
    "epochs": {"epochs": 1},
    "code": {},
    "truncated": {},
}


@pytest.mark.parametrize("other", OTHER_RUNS)
def test_a_state_of_another_run_is_named_and_not_used(fresh, tmp_path, monkeypatch, capsys, other):
    state, resumed, undisturbed = tmp_path / "state", fresh(), fresh()
    stop_after_three_steps(fresh(), state)
    if other == "code":
        monkeypatch.setattr(training_state, "_code", lambda: "other")
    if other == "truncated":
        state.write_bytes(state.read_bytes()[:-10])
    run(resumed, state, **OTHER_RUNS[other])
    assert f"{state}: " in (said := capsys.readouterr().out)
    assert "starting from step 0" in said
    run(undisturbed, tmp_path / "other", **OTHER_RUNS[other])
    assert_same_weights(resumed, undisturbed)


@pytest.fixture
def accelerator_in():
    """`make_accelerator` in a precision of its own: accelerate lets a process have but one."""

    def make(precision):
        AcceleratorState._reset_state(reset_partial_state=True)
        return make_accelerator(precision)

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("weights", "precision", "on"),
    [("bfloat16", "bfloat16", True), ("float32", "bfloat16", True), ("float32", "float32", False)],
)
def test_products_in_bfloat16_are_under_autocast_whatever_the_weights(
    fresh, monkeypatch, accelerator_in, weights, precision, on
):
    """The release trains bfloat16 weights under bfloat16 autocast (METHOD.md section 1)."""
    model, seen, attended, attend = fresh(weights), [], set(), attention.span_by_span

    def watched(query, key, value, *others):
        attended.update(tensor.dtype for tensor in (query, key, value))
        return attend(query, key, value, *others)

    monkeypatch.setattr(attention, "span_by_span", watched)
    projections = [m for n, m in model.named_modules() if n.endswith(("c_proj", "down_proj"))]
    projections[-1].register_forward_hook(
        lambda *_: seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
    )
    backward(model, pairs().items, accelerator_in(precision), 10_000)
    assert seen == [(on, torch.bfloat16)]  # which is the CPU's only kind of autocast
    dtype = getattr(torch, weights)
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {dtype}
    if weights == precision:  # query, key and value: what a GPU needs for FlashAttention
        assert attended == {dtype}


def test_training_in_bfloat16_learns_and_resumes_to_the_same_bits(
    backbone, tmp_path, accelerator_in
):
    more = {"config": changed(RECIPE, weights="bfloat16", precision="bfloat16")}
    more |= {"data": pairs_that_say_something(), "accelerator": accelerator_in("bfloat16")}
    models = [new_reward_model(backbone, 0, 0.02, "bfloat16") for _ in range(3)]
    stopped, resumed, undisturbed = models
    stop_after_three_steps(stopped, tmp_path / "state", **more)
    history = run(resumed, tmp_path / "state", **more)
    run(undisturbed, tmp_path / "other", **more)
    assert_same_weights(resumed, undisturbed)
    assert history[-1]["loss"] < 0.2 < history[0]["loss"]
    assert {weight.dtype for weight in undisturbed.state_dict().values()} == {torch.bfloat16}
