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
from rm_tension.model.device import Budget, make_accelerator
from rm_tension.model.reward_model import new_reward_model
from rm_tension.train import state as training_state
from rm_tension.train import training
from rm_tension.train.training import Pairs, backward, plan, train
from samples import RECIPE, changed, random_items


@pytest.fixture(autouse=True)
def every_step_at_once(monkeypatch):
    monkeypatch.setattr(training, "FETCH_SECONDS", 0)


def pairs(count=18, seed=0):
    return Pairs([f"pair-{i}" for i in range(count)], random_items(seed, count))


def run(
    model, state, config=RECIPE, data=None, seed=0, epochs=2, budget=None, accelerator=None, **more
):
    return train(
        model,
        data or pairs(),
        config,
        epochs=epochs,
        seed=seed,
        accelerator=accelerator or make_accelerator("float32"),
        budget=budget or Budget(config.tokens_per_micro_batch),
        state=state,
        progress="test",
        **more,
    )


def same_weights(first, second):
    return all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_micro_batches_change_no_gradient(backbone):
    gradients = []
    for budget in (1, 60, 10_000):
        model = fresh(backbone)
        backward(model, pairs().items, make_accelerator("float32"), budget)
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-4, atol=1e-6)


def test_the_gradient_of_an_identical_pair_is_zero(backbone):
    """It stays in its batch, whose mean it is a part of (METHOD.md section 1)."""
    items = pairs(3).items
    same = [items[0][0], items[0][0].copy()]
    gradients = []
    for batch in (items, [*items, same]):
        model = fresh(backbone)
        margins = backward(model, batch, make_accelerator("float32"), 10_000)
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert float(margins[-1]) == 0.0
    torch.testing.assert_close(gradients[1], gradients[0] * 3 / 4, rtol=1e-4, atol=1e-6)


def test_training_learns_what_the_pairs_say(backbone, tmp_path):
    generator = np.random.default_rng(0)
    items = [
        [np.append(item[0], np.int32(5)), np.append(item[0], np.int32(6))]
        for item in random_items(1, 64)
    ]
    model = new_reward_model(backbone, 0, 0.02, "float32")
    history = run(
        model, tmp_path / "state", data=Pairs([str(i) for i in generator.permutation(64)], items)
    )
    assert history[-1]["accuracy"] == 1.0
    assert history[-1]["loss"] < 0.2 < history[0]["loss"]
    assert [step["step"] for step in history] == list(range(32))
    assert history[0]["learning_rate"] == 0.01
    assert history[-1]["learning_rate"] == pytest.approx(0.01 / 32)


def test_every_epoch_has_every_pair_once_in_an_order_of_its_own():
    orders = {}
    for seed in (0, 247):
        steps = plan(pairs=10, epochs=2, pairs_per_step=4, seed=seed)
        assert [len(step.pairs) for step in steps] == [4, 4, 2] * 2
        for epoch in (0, 1):
            orders[seed, epoch] = [
                index for step in steps if step.epoch == epoch for index in step.pairs
            ]
            assert sorted(orders[seed, epoch]) == list(range(10))
    assert len({tuple(order) for order in orders.values()}) == 4


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_run_that_is_not_finite_stops_and_names_step_and_pairs(backbone, tmp_path, where):
    model = fresh(backbone)
    with torch.no_grad():
        model.score.weight.fill_(float("nan") if where == "loss" else 3e38)
    with pytest.raises(
        UserError, match=r"step 0: loss .*gradient norm .*pair-\d+, pair-\d+.*learning_rate"
    ):
        run(model, tmp_path / "state")


def _train_and_save(backbone, state, out, kill_after=None):
    """Kill this process once it has taken so many steps: between two, where no state need have been written."""
    torch.set_num_threads(1)
    taken = []

    def on_step(metrics):
        taken.append(metrics)
        if len(taken) == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    model = fresh(backbone)
    history = run(
        model, state, data=pairs(60), config=changed(RECIPE, save_every_minutes=0), on_step=on_step
    )
    save_file(model.state_dict(), out, metadata={"steps": str(len(history))})


def test_a_run_killed_twice_ends_with_the_same_bits(backbone, tmp_path):
    context = multiprocessing.get_context("spawn")
    state = tmp_path / "state"
    _train_and_save(backbone, tmp_path / "unused-state", tmp_path / "whole.safetensors")
    for steps in (5, 4):
        arguments = (backbone, state, tmp_path / "killed.safetensors", steps)
        process = context.Process(target=_train_and_save, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert state.exists()
        assert not (tmp_path / "killed.safetensors").exists()
    _train_and_save(backbone, state, tmp_path / "killed.safetensors")
    whole, killed = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def fresh(backbone, dtype="float32"):
    return new_reward_model(backbone, 0, 0.5, dtype)


def stop_after_three_steps(model, state, number=signal.SIGTERM, **changes):
    """Leave a state behind: the signal comes in the middle of things."""
    taken = []

    def on_step(metrics):
        taken.append(metrics)
        if len(taken) == 3:
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as stop:
        run(model, state, on_step=on_step, **changes)
    assert stop.value.code == 128 + number
    assert len(taken) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_the_step_at_hand_with_its_state(
    backbone, tmp_path, capsys, number
):
    before = signal.getsignal(number)
    stop_after_three_steps(fresh(backbone), tmp_path / "state", number)
    assert f"test: {number.name}: saved after step 3, to go on from" in capsys.readouterr().err
    assert signal.getsignal(number) == before
    assert len(run(fresh(backbone), tmp_path / "state")) == 10
    assert "resuming after step 3" in capsys.readouterr().out


def test_a_state_is_saved_by_time(backbone, tmp_path):
    rare, often = tmp_path / "rare", tmp_path / "often"
    run(fresh(backbone), rare, config=changed(RECIPE, save_every_minutes=1e9))
    run(fresh(backbone), often, config=changed(RECIPE, save_every_minutes=0))
    assert not rare.exists()
    assert often.exists()


def test_a_step_that_memory_does_not_suffice_for_is_taken_in_smaller_batches(
    backbone, tmp_path, monkeypatch, capsys
):
    expected, model, budget = fresh(backbone), fresh(backbone), Budget(100)
    run(expected, tmp_path / "expected", budget=Budget(50))
    refuse_batches_above(monkeypatch, 50)
    run(model, tmp_path / "state", budget=budget)
    assert budget.tokens == 50
    assert "going on with 50 tokens at a time" in capsys.readouterr().err
    assert same_weights(model, expected)
    with pytest.raises(UserError, match="out of memory with 50 tokens at a time, too"):
        budget.run(lambda tokens: raise_out_of_memory())


def refuse_batches_above(monkeypatch, tokens):
    whole = training.rewards

    def small(model, rows):
        if rows.input_ids.numel() > tokens:
            raise_out_of_memory()
        return whole(model, rows)

    monkeypatch.setattr(training, "rewards", small)


def raise_out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def test_a_resumed_run_goes_on_where_it_stopped(backbone, tmp_path, capsys):
    state = tmp_path / "state"
    stop_after_three_steps(fresh(backbone), state)
    resumed, whole = (fresh(backbone) for _ in range(2))
    history = run(resumed, state)
    assert "resuming after step 3" in capsys.readouterr().out
    expected = run(whole, tmp_path / "other")
    drop = {"seconds", "tokens_per_second", "memory_mib"}  # what the machine makes of it
    assert [{k: v for k, v in step.items() if k not in drop} for step in history] == [
        {k: v for k, v in step.items() if k not in drop} for step in expected
    ]
    assert same_weights(resumed, whole)


@pytest.mark.parametrize(
    "change",
    [
        {"config": changed(RECIPE, learning_rate=0.02)},
        {"seed": 247},
        {"data": pairs(seed=1)},
        {"epochs": 1},
    ],
    ids=["settings", "seed", "data", "epochs"],
)
def test_a_state_of_another_run_is_not_used(backbone, tmp_path, capsys, change):
    state = tmp_path / "state"
    stop_after_three_steps(fresh(backbone), state)
    run(fresh(backbone), state, **change)
    assert (
        "of other code, data, weights or settings: starting from step 0" in capsys.readouterr().out
    )


def test_a_state_of_other_code_is_not_used(backbone, tmp_path, monkeypatch, capsys):
    state = tmp_path / "state"
    stop_after_three_steps(fresh(backbone), state)
    monkeypatch.setattr(training_state, "_code", lambda: "other")
    run(fresh(backbone), state)
    assert "of other code" in capsys.readouterr().out


def test_a_truncated_state_is_named_and_not_used(backbone, tmp_path, capsys):
    state = tmp_path / "state"
    stop_after_three_steps(fresh(backbone), state)
    state.write_bytes(state.read_bytes()[:-10])
    resumed, whole = (fresh(backbone) for _ in range(2))
    run(resumed, state)
    assert "starting from step 0" in capsys.readouterr().out
    run(whole, tmp_path / "other")
    assert same_weights(resumed, whole)


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
    backbone, family, monkeypatch, accelerator_in, weights, precision, on
):
    """The release trains bfloat16 weights under bfloat16 autocast (METHOD.md section 1)."""
    model = fresh(backbone, weights)
    seen, attended = [], set()
    with_each_call(
        monkeypatch, lambda *tensors: attended.update(tensor.dtype for tensor in tensors)
    )
    last_projection = [
        module for name, module in model.named_modules() if name.endswith(("c_proj", "down_proj"))
    ][-1]
    last_projection.register_forward_hook(
        lambda *_: seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
    )
    backward(model, pairs().items, accelerator_in(precision), 10_000)
    assert seen == [(on, torch.bfloat16)]  # which is the CPU's only kind of autocast
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {
        getattr(torch, weights)
    }
    if weights == precision:  # query, key and value: what a GPU needs for FlashAttention
        assert attended == {getattr(torch, weights)}


def with_each_call(monkeypatch, see):
    """Call `see(query, key, value)` in every block."""
    whole = attention.span_by_span

    def watched(query, key, value, spans, scale):
        see(query, key, value)
        return whole(query, key, value, spans, scale)

    monkeypatch.setattr(attention, "span_by_span", watched)


def test_training_in_bfloat16_learns_and_resumes_to_the_same_bits(
    backbone, tmp_path, accelerator_in
):
    config = changed(RECIPE, weights="bfloat16", precision="bfloat16")
    items = [
        [np.append(item[0], np.int32(5)), np.append(item[0], np.int32(6))]
        for item in random_items(1, 64)
    ]
    data = {
        "data": Pairs([str(number) for number in range(64)], items),
        "accelerator": accelerator_in("bfloat16"),
    }
    stopped, resumed, whole = (new_reward_model(backbone, 0, 0.02, "bfloat16") for _ in range(3))
    stop_after_three_steps(stopped, tmp_path / "state", config=config, **data)
    history = run(resumed, tmp_path / "state", config=config, **data)
    run(whole, tmp_path / "other", config=config, **data)
    assert same_weights(resumed, whole)
    assert history[-1]["loss"] < 0.2 < history[0]["loss"]
    assert {weight.dtype for weight in whole.state_dict().values()} == {torch.bfloat16}
