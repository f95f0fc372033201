"""The command line scores a JSON-lines file, and names every line that it cannot score."""

import io
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from rm_tension import cli, load_reward_model
from rm_tension.base.errors import UserError
from rm_tension.score.command import SHOWN, read, write
from small_repository import KEY

LINES = [
    {
        "id": 7,
        "prompt": "How do I boil an egg?",
        "answers": ["Seven minutes.", "No."],
        "nested": {"ü": [None, 1.5]},
    },
    {"prompt": "Why? 🙂", "answers": ["Because."]},
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


def lines_file(folder, lines=LINES):
    path = folder / "in.jsonl"
    path.write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
    )
    return path


def test_lines_come_back_with_the_rewards_of_the_loader(run, origin, tmp_path):
    run(lines_file(tmp_path), tmp_path / "out.jsonl")
    found = [
        json.loads(line)
        for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    loaded = load_reward_model(KEY, profile="mini", repo=origin, device="cpu")
    expected = loaded.score_all([(line["prompt"], line["answers"]) for line in LINES])
    assert found == [
        line | {"rewards": rewards} for line, rewards in zip(LINES, expected, strict=True)
    ]


def test_as_a_program_between_two_pipes(origin, tmp_path):
    command = [
        sys.executable,
        "-m",
        "rm_tension",
        "score",
        "--model",
        KEY,
        "--profile",
        "mini",
        "--repo",
        origin,
    ]
    with lines_file(tmp_path).open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=True)
    found = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [len(line["rewards"]) for line in found] == [2, 1]
    assert "nothing is downloaded" in done.stderr.decode()


BAD = [
    (b'{"prompt": "caf\xe9", "answers": ["a"]}', "line 2: 'utf-8' codec can't decode byte 0xe9"),
    (b"{'prompt': 1}", "line 2: Expecting property name"),
    (b"", "line 2: Expecting value"),
    (b"[" * 100_000, "line 2: .*recursion"),
    (b"[]", 'line 2: must be an object with "prompt" and "answers"'),
    (b'{"prompt": "why?"}', 'line 2: must be an object with "prompt" and "answers"'),
    (b'{"prompt": " ", "answers": ["a"]}', "line 2: the prompt must be a text that is not blank"),
    (b'{"prompt": "why?", "answers": []}', "line 2: answers must be a list of at least one text"),
    (b'{"prompt": "why?", "answers": ["a", null]}', "line 2: every answer must be a text"),
    (b'{"prompt": "why?", "answers": ["\\ud83d"]}', "line 2: .*surrogates not allowed"),
    (
        b'{"prompt": "why?", "answers": ["a"], "n": NaN}',
        "line 2: Out of range float values are not JSON",
    ),
    (
        b'{"prompt": "why?", "prompt": "how?", "answers": ["a"]}',
        "line 2: 'prompt' stands there twice",
    ),
    (b'{"prompt": "why?", "answers": ["a"], "rewards": [1]}', 'line 2: has "rewards" already'),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[message[8:30] for _, message in BAD])
def test_a_bad_line_is_named(line, message, tmp_path):
    path = lines_file(tmp_path, LINES[:1])
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    with pytest.raises(UserError, match=rf"in\.jsonl:\n  {message}") as caught:
        read(str(path))
    assert len(str(caught.value).splitlines()) == 2


def test_all_bad_lines_are_named_and_nothing_is_loaded_or_written(run, tmp_path, capsys):
    path = lines_file(tmp_path, LINES[:1])
    path.write_bytes(
        path.read_bytes() + b"\n".join(line for line, _ in BAD) + b"\n" + b"{\n" * SHOWN
    )
    with pytest.raises(SystemExit) as caught:
        run(path, tmp_path / "out.jsonl", model="no-such-model")
    said = str(caught.value)
    assert said.startswith(f"error: {path}:\n  line 2: ")
    assert [f"line {number}: " in said for number in (1, 2, 13, SHOWN + 1, SHOWN + 2)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert said.endswith(f"and {len(BAD)} more")
    assert not (tmp_path / "out.jsonl").exists()
    assert not capsys.readouterr().err


def test_files_that_are_not_there_empty_or_not_to_be_written(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"nowhere\.jsonl: cannot be read \(No such file"):
        read(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(UserError, match="there is no line to score"):
        read(str(lines_file(tmp_path, [])))
    with pytest.raises(UserError, match=r"in\.jsonl.*: cannot be written"):
        write(str(tmp_path / "in.jsonl" / "out.jsonl"), LINES)
    with pytest.raises(UserError, match="cannot be written"):
        write(str(tmp_path), LINES)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{\n")))
    with pytest.raises(UserError, match="stdin:\n  line 1"):
        read("-")


def test_a_folder_as_output_is_refused_before_anything_is_loaded_and_a_pipe_stays_one(
    run, tmp_path
):
    with pytest.raises(SystemExit, match=f"error: {tmp_path}: a folder; name a file"):
        run(lines_file(tmp_path), tmp_path, model="no-such-model")
    assert (tmp_path / "in.jsonl").exists()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(str(tmp_path / "pipe"), LINES[:1])
    assert json.loads(os.read(reader, 100_000)) == LINES[0]
    os.close(reader)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    path = lines_file(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(str(path)) == LINES


WRITE = """
import sys
from rm_tension.score.command import UserError, write
try:
    write("-", [{"a": 1}])
except UserError as error:
    sys.exit(f"error: {error}")
"""


@contextmanager
def full_disk():
    with Path("/dev/full").open("wb") as file:
        yield file


@contextmanager
def reader_that_has_gone():
    read_end, write_end = os.pipe()
    os.close(read_end)
    yield write_end
    os.close(write_end)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [(full_disk, "No space left on device"), (reader_that_has_gone, "Broken pipe")],
)
def test_a_stream_that_ends_is_an_error_without_a_traceback(stream, reason):
    with stream() as stdout:
        done = subprocess.run(
            [sys.executable, "-c", WRITE], stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, f"error: -: cannot be written ({reason})\n")


def test_a_closed_stdout_is_an_error_without_a_traceback():
    command = ["bash", "-c", 'exec "$0" -c "$1" >&-', sys.executable, WRITE]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: -: cannot be written (stdout is closed)\n")


def test_no_model_of_that_name(run, tmp_path):
    with pytest.raises(
        SystemExit, match=f"error: mini-gpt3-helpful-0: not in dvc.lock, .*nearest are: mini-{KEY}"
    ):
        run(lines_file(tmp_path), model="gpt3-helpful-0")
