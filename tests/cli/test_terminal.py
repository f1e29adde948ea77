"""What terminals, pipes and Ctrl-C make of the command line: lines, and data on stdout alone."""

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spider_jax.cli import output
from spider_jax.cli.models import rename
from spider_jax.spider.spider import Spider
from spider_jax.storage.own_files import refuse_own_file
from spider_jax.zoo.store import FeatureStore
from support.command_line import BAD_INPUT, DONE, SKIPPED, TIMEOUT, Command, one_line

EVIL = "\x1b]0;owned\x07\x9b31m"
MAIN = "from spider_jax.cli.app import main; main()"


def shell(line: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a shell of its own: `line` says what becomes of its streams."""
    command = ["sh", "-c", line, "sh", sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=TIMEOUT
    )


# ---- names -----------------------------------------------------------------------------------


def test_control_characters_of_any_file_are_escaped(small_zoo: Path, command: Command) -> None:
    FeatureStore.write_manifest(small_zoo, extractor=EVIL, tasks={EVIL: {"kind": EVIL}})
    (small_zoo / "accuracies.csv").write_text(f"model,task,accuracy\n{EVIL},apples,0.5\n")
    (small_zoo / "features" / f"{EVIL}").mkdir()
    (small_zoo / "features" / f"{EVIL}" / "apples.npy").write_bytes(b"")
    for arguments in (
        ("inspect", small_zoo),
        ("score", small_zoo, "apples", "--metrics", "knn", "--no-cache", "-v"),
        ("score", small_zoo, EVIL),
        ("train", small_zoo, "--out", small_zoo / "x"),
        ("rank", small_zoo / EVIL, small_zoo, "apples"),
        ("rename", small_zoo / EVIL, EVIL, "b"),
    ):
        found = command(*arguments)
        assert found.code in (BAD_INPUT, SKIPPED)
        assert not set(found.out + found.err) & set("\x1b\x07\x9b"), arguments


def test_a_badly_named_folder_is_listed_by_every_command(
    small_zoo: Path, saved: Path, tmp_path: Path, command: Command
) -> None:
    (small_zoo / "features" / "org vit").mkdir()
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (small_zoo / "features" / "linked").symlink_to(outside)
    (small_zoo / "features" / "empty").mkdir()
    command("index", "build", saved, tmp_path / "index")
    for arguments in (
        ("inspect", small_zoo),
        ("score", small_zoo, "apples", "--metrics", "knn", "--no-cache"),
        ("rank", saved, small_zoo, "apples"),
        ("rank", saved, small_zoo, "apples", "--json"),
        ("index", "top-k", tmp_path / "index", small_zoo, "apples"),
    ):
        found = command(*arguments)
        assert found.code == SKIPPED, arguments
        assert found.err.count("org vit") >= 1
        assert found.err.count("link out of the zoo") == 1
        assert found.err.count("empty: ") == 1


def test_the_log_escapes_what_it_names() -> None:
    record = logging.LogRecord("spider_jax", 30, "", 0, "left out: %s\n%s", (EVIL, "b"), None)
    said = output._OneLine().format(record)
    assert said == r"spider-jax: left out: \x1b]0;owned\x07\x9b31m\x0ab"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_name_can_be_shown_on_any_terminal(
    encoding: str, small_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spider_jax.cli.app import main

    F = np.array(FeatureStore(small_zoo).features("wide", "apples"))
    FeatureStore.write_features(small_zoo, "模型", "apples", F)
    for option in ((), ("--json",)):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
        with pytest.raises(SystemExit) as left:
            main(["score", str(small_zoo), "apples", "--metrics", "knn", "--no-cache", *option])
        sys.stdout.flush()
        assert left.value.code == DONE
        text = raw.getvalue().decode(encoding)
        if option:
            assert "模型" in {row["model"] for row in json.loads(text)["rows"]}
        else:
            assert r"\u6a21\u578b" in text


# ---- files of a zoo --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["accuracies.csv", "manifest.json", "labels/x.csv", "features/wide/x.csv", "splits/new.csv"],
)
def test_no_table_is_written_over_a_file_of_a_zoo(
    name: str, small_zoo: Path, command: Command
) -> None:
    found = command("score", small_zoo, "apples", "--csv", small_zoo / name)
    one_line(found, name, "choose another name")


def test_nor_over_one_of_a_spider(saved: Path, small_zoo: Path, command: Command) -> None:
    one_line(command("rank", saved, small_zoo, "apples", "--csv", saved / "spider.json"), "choose")
    (small_zoo / "by_link").symlink_to(saved / "checksums.json")
    one_line(command("rank", saved, small_zoo, "apples", "--csv", small_zoo / "by_link"), "choose")


def test_a_table_may_lie_beside(small_zoo: Path) -> None:
    refuse_own_file(small_zoo / "ranking.csv")
    refuse_own_file(small_zoo.parent / "accuracies.csv")


# ---- two at once -----------------------------------------------------------------------------


def test_two_renames_at_once_lose_neither(saved: Path, spider: Spider) -> None:
    first, second = spider.models[:2]
    line = f'"$@" rename {saved} {first} one & "$@" rename {saved} {second} two; wait'
    assert shell(line).returncode == 0
    assert {"one", "two"} <= set(Spider.load(saved).models)


def test_a_linked_spider_is_not_replaced(saved: Path, tmp_path: Path, spider: Spider) -> None:
    link = tmp_path / "link"
    link.symlink_to(saved)
    with pytest.raises(ValueError, match="symbolic link"):
        rename(link, spider.models[0], "new")
    assert link.is_symlink()


# ---- streams and signals ---------------------------------------------------------------------


def test_closed_and_full_streams_are_one_line(small_zoo: Path) -> None:
    for line in ('"$@" >&-', '"$@" >/dev/full'):
        found = shell(line, "inspect", small_zoo)
        assert found.returncode == BAD_INPUT, found
        assert len(found.stderr.splitlines()) == 1
        assert "Traceback" not in found.stderr
    assert shell('"$@" 2>&-', "inspect", small_zoo).returncode == DONE


def test_a_reader_that_leaves_early_is_no_failure(small_zoo: Path) -> None:
    found = shell('"$@" | head -n 1', "inspect", small_zoo)
    assert (found.returncode, found.stderr) == (0, "")
    assert len(found.stdout.splitlines()) == 1


@pytest.mark.parametrize("after", [0.15, 0.6, 1.5])
def test_ctrl_c_is_one_line_also_while_importing(after: float, tmp_path: Path) -> None:
    """From a script with the name of ours, interrupted soon after it began."""
    script = tmp_path / "spider-jax"
    script.write_text(
        "print('begun', flush=True)\n"
        "from spider_jax.cli import main\n"
        "import time; time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert said.splitlines() == ["spider-jax: interrupted: the same command goes on or begins anew"]


def test_code_of_others_prints_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with output.messages_only():
        print("hello from a factory")
    with contextlib.suppress(SystemExit):
        output.say("data")
    assert capsys.readouterr() == ("data\n", "hello from a factory\n")
