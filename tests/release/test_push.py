"""Checkpoints go to a hub and to S3 with their cards, once, and go on after an error."""

import subprocess
import sys
from functools import partial

import pytest
from analysed_run import NAME
from huggingface_hub import HfApi
from local_hub import local_hub

from rm_tension.base.errors import UserError
from rm_tension.base.lockfile import file_md5
from rm_tension.release import push as module
from rm_tension.release.kit import prepare
from rm_tension.release.push import push
from small_repository import KEY, PLACE, listed

REPO = f"someone/{NAME}"


@pytest.fixture
def hub(monkeypatch):
    with local_hub() as hub:
        monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint=hub.url, token="a-token"))
        yield hub


@pytest.fixture
def kit(analysed, params):
    analysed()
    return prepare(params.grid, "mini")


def send(params, target="hf://someone", keys=(), dry_run=False):
    push(params.grid, "mini", target, list(keys), dry_run)


def test_a_hub_gets_the_checkpoint_and_its_card_in_one_commit(hub, kit, params, capsys):
    send(params)
    there = hub.repos[REPO]
    checkpoint = {
        name: (PLACE / name).read_bytes() for name in listed(PLACE.absolute().parents[3]) if name
    }
    assert there == checkpoint | {"README.md": (kit / "models" / NAME / "README.md").read_bytes()}
    assert sum(path.endswith("/commit/main") for _, path in hub.requests) == 1
    assert f"1/1 {NAME}: {len(there)} of {len(there)} files sent" in capsys.readouterr().out


def test_what_is_there_is_not_sent_again_and_what_changed_is(hub, kit, params, capsys):
    send(params)
    hub.requests.clear()
    send(params)
    assert {method for method, _ in hub.requests} == {"GET"}
    for name in (
        "README.md",
        "model.safetensors",
    ):  # the hub knows one by git's sum, the other by its sha256
        hub.repos[REPO][name] = b"damaged"
    capsys.readouterr()
    send(params)
    assert ": 2 of 6 files sent" in capsys.readouterr().out
    assert hub.repos[REPO]["model.safetensors"] == (PLACE / "model.safetensors").read_bytes()


def test_a_dry_run_asks_and_sends_nothing(hub, kit, params, capsys):
    send(params, dry_run=True)
    assert "6 of 6 files would be sent" in capsys.readouterr().out
    assert not hub.repos
    assert {method for method, _ in hub.requests} == {"GET"}


def test_after_an_error_the_same_command_goes_on(hub, kit, params):
    hub.refused.add(NAME)
    with pytest.raises(
        UserError, match=f"(?s)hf://someone: {NAME} was not sent .* the same command goes on"
    ):
        send(params)
    hub.refused.clear()
    send(params, keys=[KEY])
    assert len(hub.repos[REPO]) == 6


def test_s3_gets_the_same_once(s3, kit, params, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.meta.client.meta.endpoint_url)
    send(params, "s3://bucket/some/prefix", dry_run=True)
    assert not list(s3.objects.all())
    send(params, "s3://bucket/some/prefix/")
    found = {one.key: one.last_modified for one in s3.objects.all()}
    assert len(found) == 6
    body = s3.Object(f"some/prefix/{NAME}/model.safetensors").get()["Body"].read()
    assert body == (PLACE / "model.safetensors").read_bytes()
    s3.put_object(Key=f"some/prefix/{NAME}/config.json", Body=b"another")
    capsys.readouterr()
    send(params, "s3://bucket/some/prefix")
    assert ": 1 of 6 files sent" in capsys.readouterr().out


def test_what_lies_beside_a_checkpoint_is_not_sent(hub, kit, params):
    (PLACE / ".DS_Store").touch()
    send(params)
    assert len(hub.repos[REPO]) == 6
    (PLACE / "notes.txt").touch()
    with pytest.raises(UserError, match=f"{PLACE}: holds files that dvc.lock does not know"):
        send(params)


def test_a_damaged_checkpoint_is_not_sent(hub, kit, params):
    with (PLACE / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match=r"not what dvc\.lock records, in model\.safetensors"):
        send(params)
    assert not hub.repos


def test_a_kit_of_other_checkpoints_is_refused(hub, kit, params):
    index = kit / "checkpoints.json"
    md5 = listed(PLACE.absolute().parents[3])[""].removesuffix(".dir")
    index.write_text(index.read_text().replace(md5, "0" * 32))
    with pytest.raises(
        UserError, match=f"{NAME}: not what dvc.lock records now; `make release PROFILE=mini` again"
    ):
        send(params)
    index.write_text("{")
    with pytest.raises(UserError, match=r"checkpoints\.json: damaged"):
        send(params)
    index.unlink()
    with pytest.raises(
        UserError, match=r"checkpoints\.json: not found; `make release PROFILE=mini` first"
    ):
        send(params)
    assert not hub.repos


@pytest.mark.parametrize("target", ["someone", "hf://a/b/c", "https://host/path", "s3:/bucket"])
def test_a_target_that_is_none(kit, params, target):
    with pytest.raises(UserError, match="neither hf://ORG nor s3://BUCKET/PREFIX"):
        send(params, target)


def test_the_program_prepares_and_says_what_is_wrong(analysed):
    folder = analysed()
    before = file_md5(folder / "dvc.lock")
    command = [sys.executable, "-m", "rm_tension", "release"]
    done = subprocess.run([*command, "prepare"], capture_output=True, text=True, check=True)
    assert done.stdout == "dist/release/mini: read its STEPS.txt\n"
    failed = subprocess.run(
        [*command, "push", "nowhere"], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr == "error: nowhere: neither hf://ORG nor s3://BUCKET/PREFIX\n"
    assert file_md5(folder / "dvc.lock") == before
