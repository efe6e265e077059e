# SPDX-License-Identifier: BSD-3-Clause
"""Manual pages and completions have every command and option."""

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sluice.cli import cpu_usage
from sluice.cli import main as cli
from sluice.cmgrd import app, fp_sync
from sluice.fpsd import app as fpsd
from sluice.hitflags import app as hitflags

from tests.lib import product

TOP = Path(__file__).resolve().parents[2]
PARSERS = {
    "fp-cli": cli.parser,
    "fp-cpu-usage": cpu_usage.parser,
    "fp-sync": fp_sync.parser,
    "cmgrd": app.parser,
    "hitflagsd": hitflags.parser,
    "fpsd": fpsd.parser,
}
PAGES = {
    "fp-cli": 1,
    "fp-cpu-usage": 1,
    "fp-sync": 1,
    "cmgrd": 8,
    "hitflagsd": 8,
    "fpsd": 8,
    "fp-stats": 1,
    "fp-rte": 8,
    "fpmd": 8,
}
MAINS = {"fp-rte": "gate/fastpath/main.c", "fpmd": "gate/fpmd/main.c"}


def page(program: str) -> Path:
    """As it's in the image, or as it was built."""
    section = PAGES[program]
    if product.IN_VM:
        return Path(f"/usr/share/man/man{section}/{program}.{section}")
    return product.build_dir() / f"gate/cli/{program}.{section}"


def completion(program: str) -> Path:
    if product.IN_VM:
        return Path(f"/usr/share/bash-completion/completions/{program}")
    return product.build_dir() / "gate/cli" / program


def walk(parser: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each command with its options, by the words that lead to it."""
    options: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from walk(inner, f"{words} {name}".strip())
        options += action.option_strings
    yield words, options


def plain(path: Path) -> str:
    """A page's text without roff."""
    return re.sub(r"\\f[BIR]|\\&", "", path.read_text()).replace(r"\-", "-")


@pytest.mark.parametrize("program", PARSERS)
def test_the_manual_page_has_every_command_and_option(program: str) -> None:
    text = plain(page(program))
    for words, options in walk(PARSERS[program]()):
        part = text
        # A word alone leads to commands of two words.
        if words and (words, options) != (words, ["-h", "--help"]):
            part = re.split(r"^\.S[SH] ", text.partition(f".SS {words} ")[2], flags=re.M)[0]
            options = [option for option in options if option not in ("-h", "--help")]
        for option in options:
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", part), (words, option)


@pytest.mark.parametrize("program", MAINS)
def test_the_manual_page_has_the_options_that_main_takes(program: str) -> None:
    source = (TOP / MAINS[program]).read_text()
    long = re.findall(r'\{"([\w-]+)", (?:no|required)_argument, NULL, \'(\w)\'\}', source)
    assert len(long) > 4
    text = plain(page(program))
    for name, short in long:
        assert re.search(rf"^-{short}, --{name}( |$)", text, re.M), name


@pytest.mark.parametrize("program", PAGES)
def test_man_reads_the_page_without_a_warning(program: str) -> None:
    if not shutil.which("man"):
        pytest.skip("there's no man(1) here")
    done = subprocess.run(
        ["man", "--warnings", "-P", "cat", "-l", str(page(program))],
        capture_output=True,
        text=True,
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        check=True,
    )
    assert "can't break line" in done.stderr or not done.stderr
    assert "EXIT STATUS" in done.stdout


def complete(program: str, *words: str) -> list[str]:
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in (program, *words))
    script = (
        f"source {completion(program)}; COMP_WORDS=({line}); COMP_CWORD={len(words)};"
        f' {"_" + program.replace("-", "_")}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-euc", script], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("program", ["fp-cli", "fp-cpu-usage"])
def test_bash_offers_every_command_and_option(program: str) -> None:
    for words, options in walk(PARSERS[program]()):
        offered = complete(program, *words.split(), "")
        assert set(options) <= set(offered), words


def test_bash_offers_what_fits_only() -> None:
    assert {"route", "routes", "rings", "refused", "rules"} == set(complete("fp-cli", "r"))
    assert complete("fp-cli", "--instance", "x", "route", "")[0] == "get"
    assert complete("fp-cli", "-j", "trace", "--po") == ["--port"]
    assert complete("fp-cli", "trace", "--count", "") == []
    # A value that is named like a command is none.
    assert "status" in complete("fp-cli", "--instance", "ports", "s")


def test_bash_offers_instances() -> None:
    path = Path(f"/dev/shm/sluice.t{os.getpid()}.stats")
    path.touch()
    try:
        assert complete("fp-cli", "--instance", f"t{os.getpid()}") == [f"t{os.getpid()}"]
    finally:
        path.unlink()
