"""The command line scores a JSON-lines file, and names every line that it cannot score."""

import gzip
import io
import json
import os
import re

import pytest

from rm_tension import cli, load_reward_model
from rm_tension.base.errors import UserError
from rm_tension.score.command import SHOWN, read, write
from rm_tension.score.items import read_items
from small_repository import KEY

LINES = [
    {
        "id": 7,
        "prompt": "How do I boil an egg?",
        "answers": ["Seven minutes.", "No."],
        "nested": {"ü": [None, 1.5]},
    },
    {"chosen": "\n\nHuman: 🙂\n\nAssistant: a", "rejected": "\n\nHuman: 🙂\n\nAssistant: b"},
    {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
]
TEXT = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in LINES)


@pytest.fixture
def run(trained):
    """Call the command with these arguments."""

    def call(*arguments, model=KEY):
        always = ["--model", model, "--profile", "mini", "--repo", str(trained / "origin")]
        cli.main(["score", *map(str, arguments), *always, "--device", "cpu"])

    return call


@pytest.fixture
def path(tmp_path):
    return tmp_path / "in.jsonl"


def test_lines_come_back_with_the_rewards_of_the_loader_also_between_pipes(
    run, trained, path, monkeypatch, capfdbinary
):
    path.write_text(TEXT, encoding="utf-8")
    run(path, path.with_name("out.jsonl"))
    scored = path.with_name("out.jsonl").read_bytes()
    loaded = load_reward_model(KEY, profile="mini", repo=trained / "origin", device="cpu")
    expected = zip(LINES, loaded.score_all(LINES), strict=True)
    assert list(map(json.loads, scored.decode().splitlines())) == [
        line | {"rewards": rewards} for line, rewards in expected
    ]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    run()
    said = capfdbinary.readouterr()
    assert said.out == scored
    assert b"nothing is downloaded" in said.err


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        gzip.compress(TEXT.encode()),
        TEXT.replace("\n", "\r\n\r\n").encode(),
        f"\n{TEXT}  \n".encode(),
    ],
    ids=["BOM", "UTF-16", "UTF-16 BE", "gzip", "blank lines of Windows", "blank lines"],
)
def test_files_as_people_have_them(raw, path):
    path.write_bytes(raw)
    assert read(str(path)) == list(zip(LINES, read_items(LINES), strict=True))


BAD = [
    ("{'prompt': 1}", "not JSON, from character 2: Expecting property name"),
    ("[" * 100_000, "nested too deeply"),
    ("[]", "must be an object, such as "),
    ('{"prompt": "why?"}', 'must have "answers", .* it has prompt'),
    ('{"prompt": "why?", "answers": ["a", null]}', "must be a text or messages, .* not None"),
    ('{"prompt": "why?", "answers": ["\\ud83d"]}', "half a surrogate pair"),
    ('{"prompt": "why?", "answers": ["a"], "id": "\\ud83d"}', "half a surrogate pair"),
    ('{"prompt": "why?", "answers": ["a"], "n": NaN}', "holds NaN or Infinity"),
    ('{"prompt": "why?", "prompt": "how?", "answers": ["a"]}', "'prompt' stands there twice"),
    ('{"prompt": "why?", "answers": ["a"], "rewards": [1]}', 'has "rewards" already'),
]


def test_all_bad_lines_are_named_and_nothing_is_loaded_or_written(run, path, capsys):
    bad = "\n\n".join(line for line, _ in BAD)  # blank lines count
    path.write_text(f"{TEXT}{bad}\n" + "{\n" * SHOWN, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        run(path, path.with_name("out.jsonl"), model="no-such-model")
    start, *said, last = str(caught.value).splitlines()
    assert start == f"error: {path}:"
    assert len(said) == SHOWN
    for number, (line, (_, message)) in enumerate(zip(said, BAD, strict=False)):
        assert re.match(f"  line {2 * number + len(LINES) + 1}: {message}", line)
    assert last == f"  and {len(BAD)} more"
    assert not path.with_name("out.jsonl").exists()
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, r"cannot be read \(No such file"),
        (b"", "\n  there is no line to score"),
        (gzip.compress(b"{}" * 99)[:-9], r"cannot be read \(damaged: "),
        (b'{}\n{"prompt": "caf\xe9"}', "line 2: damaged utf-8 .* save the file as UTF-8"),
        ("{}".encode("utf-16") + b"\xd8", "line 1: damaged utf-16"),
    ],
    ids=["missing", "empty", "gzip", "UTF-8", "UTF-16"],  # gzip's bytes tell the time
)
def test_files_that_are_not_there_empty_or_damaged(raw, message, path):
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(UserError, match=rf"(?s)in\.jsonl: ?{message}"):
        read(str(path))


def test_where_nothing_can_be_written(run, path, tmp_path, monkeypatch):
    path.write_text(TEXT, encoding="utf-8")
    with pytest.raises(SystemExit, match=f"error: {tmp_path}: a folder; name a file"):
        run(path, tmp_path, model="no-such-model")  # before anything is loaded
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(SystemExit, match=f"{tmp_path} may not be written to"):
        run(path, tmp_path / "new", model="no-such-model")
    with pytest.raises(UserError, match="cannot be written"):
        write(str(path / "out.jsonl"), LINES)
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(UserError, match="-: stdout is closed"):
        write("-", LINES)


def test_a_pipe_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(str(tmp_path / "pipe"), LINES[:1])
    assert json.loads(os.read(reader, 100_000)) == LINES[0]
    os.close(reader)
