# SPDX-License-Identifier: BSD-3-Clause
"""fp-rte --check on plugins: what's fine, and each fault named. And the public header is all that a plugin needs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.proc import Completed, run
from tests.lib import product

HERE = Path(__file__).resolve().parent
GATE = HERE.parents[1] / "gate"
MODULES = product.build_dir() / "tests/plugins"
SAMPLES = product.build_dir() / "gate/plugins"
HEADERS = ("plugin.h", "burst.h")


def check(tmp_path: Path, plugins: str) -> Completed:
    """fp-rte --check with FP_PLUGINS."""
    env = tmp_path / "fast-path.env"
    env.write_text(
        f'FP_PORTS="p=net_null0"\nFP_HUGEPAGES=no\nFP_TAP=queue\nFP_PLUGINS="{plugins}"\n'
    )
    words = [*product.program("fp-rte"), "--check", "--env", str(env), "--instance", "plugins"]
    return run(words, check=False)


def complaints(done: Completed) -> list[str]:
    """What it says of plugins, without the program's name."""
    lines = [line.removeprefix("fp-rte: error: ") for line in done.stderr.splitlines()]
    return [line for line in lines if line.startswith("plugin")]


def test_a_good_plugin_is_shown(tmp_path: Path) -> None:
    done = check(tmp_path, f"{SAMPLES}/marker.so,rule=any:1  {MODULES}/wont_start.so")
    assert complaints(done) == []
    assert re.search(r"^FP_PLUGINS +2 +as set$", done.stdout, re.M)
    assert re.search(r"^  marker +1\.0; sets the DSCP", done.stdout, re.M)


@pytest.mark.parametrize(
    ("plugin", "text", "hint"),
    [
        ("nowhere", "/usr/lib/sluice/plugins/nowhere.so: No such file", "FP_PLUGINS names files"),
        ("/nowhere/x.so,a=1", "plugin /nowhere/x.so: No such file", "FP_PLUGINS names files"),
        ("/dev", "plugin /dev is no file", ""),
        ("{gate}/fastpath/plugin.h", "can't be loaded: ", "is it built for this"),
        ("{modules}/no_symbol.so", "has no symbol fp_plugin", "FP_PLUGIN of <sluice/plugin.h>"),
        ("{modules}/other_abi.so", "is for version 2 of the interface, this is 1", "build it with"),
        ("{modules}/other_dpdk.so", "was built with DPDK 19.11, this is", "build it with"),
        ("{modules}/undefined.so", "undefined symbol: fp_there_is_no_such", "is it built for"),
        ("{modules}/no_start.so", "its fp_plugin isn't complete", ""),
        ("{modules}/bad_name.so", "its fp_plugin isn't complete", ""),
        ("{samples}/marker.so", "plugin marker: it has no rule", ""),
        ("{modules}/wont_start.so,a=1", "plugin bad: it takes no arguments", ""),
    ],
)
def test_each_fault_is_named(tmp_path: Path, plugin: str, text: str, hint: str) -> None:
    path = plugin.format(gate=GATE, modules=MODULES, samples=SAMPLES)
    done = check(tmp_path, path)
    assert done.returncode == 1
    (line,) = complaints(done)
    assert text in line
    assert hint in done.stderr


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    done = check(tmp_path, f"a {MODULES}/other_abi.so b {SAMPLES}/marker.so,rule=any:1 c")
    assert len(complaints(done)) == 4


def test_the_same_plugin_twice_is_refused(tmp_path: Path) -> None:
    done = check(tmp_path, f"{SAMPLES}/marker.so,rule=any:1 {SAMPLES}/marker.so,rule=any:2")
    assert complaints(done) == ["plugin marker is there twice"]


def test_a_file_that_others_could_change_is_refused(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file away")
    mine = tmp_path / "marker.so"
    shutil.copy(SAMPLES / "marker.so", mine)
    mine.chmod(0o755)
    assert complaints(check(tmp_path, f"{mine},rule=any:1")) == []
    mine.chmod(0o757)
    assert "could be changed by others" in complaints(check(tmp_path, f"{mine},rule=any:1"))[0]
    mine.chmod(0o755)
    os.chown(mine, 12345, 12345)
    assert "could be changed by others" in complaints(check(tmp_path, f"{mine},rule=any:1"))[0]


def declared() -> set[str]:
    """The functions of plugin.h."""
    text = re.sub(r"/\*.*?\*/", "", (GATE / "fastpath/plugin.h").read_text(), flags=re.DOTALL)
    functions = set(re.findall(r"\b(fp_\w+)\([^;{]*\);", text))
    for names in re.findall(r"^fp_(?:send|output|iface)_fn (fp_\w+(?:, fp_\w+)*);", text, re.M):
        functions |= set(names.split(", "))
    types = set(re.findall(r"typedef void (fp_\w+)\(", text))
    return functions - types


def test_what_the_header_declares_is_exported() -> None:
    program = product.program("fp-rte")[0]
    listed = subprocess.run(["nm", "-D", program], stdout=subprocess.PIPE, text=True, check=True)
    exported = {line.split()[-1] for line in listed.stdout.splitlines() if " T " in line}
    assert len(declared()) > 25
    assert declared() <= exported


def cc_with_dpdk() -> list[str]:
    """As the guide says, for a plugin in a folder of its own."""
    flags = subprocess.run(
        ["pkg-config", "--cflags", "libdpdk"], stdout=subprocess.PIPE, text=True, check=True
    )
    return ["cc", "-std=gnu2x", "-O2", "-Wall", "-Wextra", "-Werror", *flags.stdout.split()]


@pytest.mark.parametrize("name", ["marker", "round_robin"])
def test_a_plugin_is_built_with_the_installed_headers_alone(tmp_path: Path, name: str) -> None:
    installed = tmp_path / "include/sluice"
    installed.mkdir(parents=True)
    for header in HEADERS:
        shutil.copy(GATE / "fastpath" / header, installed)
    shutil.copy(GATE / f"plugins/{name}/{name}.c", tmp_path)
    subprocess.run(
        [*cc_with_dpdk(), "-shared", "-fPIC", "-Iinclude", "-o", "p.so", f"{name}.c"],
        cwd=tmp_path,
        check=True,
    )
    (complaint,) = complaints(check(tmp_path, str(tmp_path / "p.so")))
    assert complaint.startswith(f"plugin {name}: it ")


def test_the_header_is_complete_in_itself(tmp_path: Path) -> None:
    for header in HEADERS:
        source = tmp_path / "alone.c"
        source.write_text(f'#include "{GATE / "fastpath" / header}"\n')
        subprocess.run([*cc_with_dpdk(), "-fsyntax-only", str(source)], check=True)


def test_the_guides_first_plugin_is_built_as_it_says(tmp_path: Path) -> None:
    """Its code and its command line."""
    guide = (GATE / "plugins/README.md").read_text()
    source = re.search(r"```c\n(#include <sluice/plugin\.h>.*?)```", guide, re.DOTALL)
    command = re.search(r"```\n\$ (cc .*?)\n```", guide, re.DOTALL)
    assert source
    assert command
    (tmp_path / "sluice").mkdir()
    for header in HEADERS:
        shutil.copy(GATE / "fastpath" / header, tmp_path / "sluice")
    (tmp_path / "ttl_limit.c").write_text(source[1])
    subprocess.run(
        ["bash", "-ec", command[1] + " -I. -Wall -Wextra -Werror"], cwd=tmp_path, check=True
    )
    assert complaints(check(tmp_path, str(tmp_path / "ttl_limit.so") + ",least=2")) == []
    (complaint,) = complaints(check(tmp_path, str(tmp_path / "ttl_limit.so") + ",least=0"))
    assert complaint.startswith("plugin ttl_limit: least=")
