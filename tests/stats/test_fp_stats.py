"""The program fp-stats, by its own name and by another's."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.lib import product
from tests.stats.reading import TOP, library

PROGRAM = Path("/usr/bin/fp-stats") if product.IN_VM else TOP / "gate/stats/fp-stats"


def run(*words: str, program: Path = PROGRAM) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, SLUICE_STATS_LIBRARY=str(library()))
    return subprocess.run([program, *words], env=env, capture_output=True, text=True, timeout=30)


def test_a_command_runs_with_the_library() -> None:
    done = run("-i", "other", "sh", "-c", "echo $LD_PRELOAD $SLUICE_INSTANCE; exit 3")
    assert (done.returncode, done.stdout) == (3, f"{library()} other\n")
    assert run("--instance=x", "--", "printenv", "SLUICE_INSTANCE").stdout == "x\n"


def test_by_another_name_it_is_that_program(tmp_path: Path) -> None:
    link = tmp_path / "printenv"
    link.symlink_to(PROGRAM)
    assert run("LD_PRELOAD", program=link).stdout == f"{library()}\n"
    nothing = tmp_path / "no-such-program"
    nothing.symlink_to(PROGRAM)
    assert run(program=nothing).returncode == 127


def test_without_the_library_the_program_runs_as_ever() -> None:
    env = dict(os.environ, SLUICE_STATS_LIBRARY="/none")
    env.pop("LD_PRELOAD", None)
    done = subprocess.run(
        [PROGRAM, "sh", "-c", "echo -$LD_PRELOAD-"], env=env, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("--\n", "")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "which command?"),
        (("-i",), "'-i' lacks its value"),
        (("--none", "ip"), "'--none' is no option"),
        (("no-such-program",), "there's no command 'no-such-program'"),
    ],
)
def test_errors_are_one_line_and_a_hint(words: tuple[str, ...], error: str) -> None:
    done = run(*words)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"fp-stats: error: {error}",
        "fp-stats: hint: see fp-stats --help",
    ]


def test_the_appliance_leads_its_tools_through_it() -> None:
    folder = Path("/usr/local/bin") if product.IN_VM else TOP / "image/extra/usr/local/bin"
    links = {path.name: str(path.readlink()) for path in folder.iterdir() if path.is_symlink()}
    assert links == dict.fromkeys(("ip", "nstat", "ethtool"), "/usr/bin/fp-stats")
