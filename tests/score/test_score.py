"""The command line scores a JSON-lines file, and names every line that it cannot score."""

import gzip
import io
import json
import os
import re
import subprocess
import sys

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


@pytest.fixture(scope="module")
def origin(trained):
    return trained / "origin"


@pytest.fixture
def run(origin, monkeypatch):
    """Call the command with these arguments."""

    def call(*arguments, model=KEY):
        always = ["--model", model, "--profile", "mini", "--repo", str(origin), "--device", "cpu"]
        cli.main(["score", *map(str, arguments), *always])

    return call


def as_text(lines):
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def lines_file(folder, lines=LINES):
    path = folder / "in.jsonl"
    path.write_text(as_text(lines), encoding="utf-8")
    return path


def test_lines_come_back_with_the_rewards_of_the_loader(run, origin, tmp_path):
    run(lines_file(tmp_path), tmp_path / "out.jsonl")
    scored = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    loaded = load_reward_model(KEY, profile="mini", repo=origin, device="cpu")
    expected = zip(LINES, loaded.score_all(LINES), strict=True)
    assert list(map(json.loads, scored)) == [
        line | {"rewards": rewards} for line, rewards in expected
    ]


def test_as_a_program_between_two_pipes(origin, tmp_path):
    options = ["--model", KEY, "--profile", "mini", "--repo", origin]
    command = [sys.executable, "-m", "rm_tension", "score", *options]
    with lines_file(tmp_path).open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=True)
    scored = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [len(line["rewards"]) for line in scored] == [2, 2, 1]
    assert "nothing is downloaded" in done.stderr.decode()


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: gzip.compress(text.encode()),
        lambda text: text.replace("\n", "\r\n\r\n").encode(),
        lambda text: f"\n{text}  \n".encode(),
    ],
    ids=["BOM", "UTF-16", "UTF-16 BE", "gzip", "blank lines of Windows", "blank lines"],
)
def test_files_as_people_have_them(encode, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(encode(as_text(LINES)))
    assert read(str(path)) == list(zip(LINES, read_items(LINES), strict=True))


BAD = [
    (b'{"prompt": "caf\xe9", "answers": ["a"]}', "character 16 is not UTF-8: save the file as UTF"),
    (b"{'prompt': 1}", "not JSON, from character 2: Expecting property name"),
    (b"[" * 100_000, "nested too deeply"),
    (b"[]", "must be an object, such as "),
    (b'{"prompt": "why?"}', 'must have "answers", .* it has prompt'),
    (b'{"prompt": " ", "answers": ["a"]}', "the prompt must be a text that is not blank"),
    (b'{"prompt": "why?", "answers": []}', "answers must be a list of at least one text"),
    (b'{"prompt": "why?", "answers": ["a", null]}', "must be a text or messages, not None"),
    (b'{"prompt": "why?", "answers": ["\\ud83d"]}', "half a surrogate pair"),
    (b'{"prompt": "why?", "answers": ["a"], "n": NaN}', "holds NaN or Infinity"),
    (b'{"prompt": "why?", "prompt": "how?", "answers": ["a"]}', "'prompt' stands there twice"),
    (b'{"prompt": "why?", "answers": ["a"], "rewards": [1]}', 'has "rewards" already'),
]


def test_all_bad_lines_are_named_and_nothing_is_loaded_or_written(run, tmp_path, capsys):
    path = lines_file(tmp_path, LINES[:1])
    bad = b"\n\n".join(line for line, _ in BAD)  # blank lines count
    path.write_bytes(path.read_bytes() + bad + b"\n" + b"{\n" * SHOWN)
    with pytest.raises(SystemExit) as caught:
        run(path, tmp_path / "out.jsonl", model="no-such-model")
    said = str(caught.value)
    patterns = [rf"  line {2 * i + 2}: {message}[^\n]*\n" for i, (_, message) in enumerate(BAD)]
    start = f"error: {path}:\n"
    assert said.startswith(start)
    for line, pattern in zip(said.removeprefix(start).splitlines(), patterns, strict=False):
        assert re.fullmatch(pattern, f"{line}\n")
    assert len(said.splitlines()) == 1 + SHOWN + 1
    assert said.endswith(f"and {len(BAD)} more")
    assert not (tmp_path / "out.jsonl").exists()
    assert not capsys.readouterr().err


def test_files_that_are_not_there_empty_damaged_or_not_to_be_written(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"nowhere\.jsonl: cannot be read \(No such file"):
        read(str(tmp_path / "nowhere.jsonl"))
    path = lines_file(tmp_path, [])
    with pytest.raises(UserError, match="there is no line to score"):
        read(str(path))
    path.write_bytes(gzip.compress(b"{}" * 99)[:-9])
    with pytest.raises(UserError, match=r"in\.jsonl: cannot be read \(damaged: "):
        read(str(path))
    path.write_bytes("{}".encode("utf-16") + b"\xd8")
    with pytest.raises(UserError, match=r"in\.jsonl: damaged UTF-16 "):
        read(str(path))
    for name in (tmp_path / "in.jsonl" / "out.jsonl", tmp_path):
        with pytest.raises(UserError, match="cannot be written"):
            write(str(name), LINES)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{\n")))
    with pytest.raises(UserError, match="stdin:\n  line 1"):
        read("-")


def test_a_folder_as_output_is_refused_before_anything_is_loaded_and_a_pipe_stays_one(
    run, tmp_path
):
    with pytest.raises(SystemExit, match=f"error: {tmp_path}: a folder; name a file"):
        run(lines_file(tmp_path), tmp_path, model="no-such-model")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(str(tmp_path / "pipe"), LINES[:1])
    assert json.loads(os.read(reader, 100_000)) == LINES[0]
    os.close(reader)


def test_a_closed_stdout_is_an_error_without_a_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(UserError, match="-: stdout is closed"):
        write("-", LINES)
