"""fast-path.env, rewritten without harm; and the model, which has every setting of it."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sluice.features.fastpath import mgmt
from sluice.features.fastpath.mgmt import active, rewritten, settings_of

from tests.lib import product
from tests.mgmt.machine import Machine, system

TOP = Path(__file__).resolve().parents[2]
FP = 'xmlns="urn:sluice:fastpath"'
DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'


def test_the_model_has_every_setting_with_its_range() -> None:
    source = (TOP / "gate/lib/settings.def").read_text()
    model = (TOP / "gate/features/fastpath/sluice-fastpath.yang").read_text()
    ours = mgmt.NUMBERS | mgmt.WORDS | mgmt.SWITCHES
    names = {name: place for place, name in ours.items()}
    for name, kind, low, high in re.findall(r'"(FP_\w+)", (\w+), (\d+), (\d+)', source):
        if name in ("FP_PORTS", "FP_PLUGINS"):
            continue
        leaf = names.pop(name).rpartition("/")[2]
        if kind == "NUMBER":
            places = re.findall(rf'leaf {leaf} {{\s+type uint32 {{\s+range "(\d+)\.\.(\d+)"', model)
            assert (low, high) in places, name
    assert not names, "settings that are gone"


def test_lines_nobody_covers_stay() -> None:
    text = "# mine\n#FP_MTU=auto\nFP_MTU=1500\nFP_CORES=1\n; end\n"
    new, before = rewritten(
        text, {"FP_MTU": "9000", "FP_PORTS": "a=0000:03:00.0 b=0000:04:00.0"}, {}
    )
    assert new.splitlines() == [
        "# mine",
        "#FP_MTU=auto",
        "FP_MTU=9000",
        "FP_CORES=1",
        "; end",
        'FP_PORTS="a=0000:03:00.0 b=0000:04:00.0"',
    ]
    assert rewritten(new, {}, before) == (text, {})
    assert active(new)["FP_PORTS"] == "a=0000:03:00.0 b=0000:04:00.0"


NAMES = ("FP_MTU", "FP_CORES", "FP_TAP")


@given(
    st.lists(
        st.sampled_from(["", "# x", *(f"#{n}=auto" for n in NAMES), *(f"{n}=1" for n in NAMES)])
    ),
    st.lists(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["2", "3"])), max_size=4),
)
def test_whatever_was_covered_says_the_same_again(
    lines: list[str], steps: list[dict[str, str]]
) -> None:
    text = "".join(f"{line}\n" for line in lines)
    now = text
    before: dict[str, str | None] = {}
    for wanted in steps:
        now, before = rewritten(now, wanted, before)
        assert {n: active(now).get(n) for n in wanted} == wanted
        again = rewritten(now, wanted, before)
        assert again == (now, before), "the same again changes nothing"
    now, before = rewritten(now, {}, before)
    assert before == {}
    assert active(now) == active(text)
    comments = [line for line in lines if not line.startswith("FP_")]
    assert [line for line in now.splitlines() if not line.startswith("FP_")] == comments


def test_settings_of_statements() -> None:
    value = {
        "cores": "1,3-5",
        "huge-pages": False,
        "exceptions": {"rate": 5000},
        "limits": {"next-hops": 64},
        "port": [{"name": "wan", "device": "0000:03:00.0"}],
    }
    assert settings_of(value) == {
        "FP_CORES": "1,3-5",
        "FP_HUGEPAGES": "no",
        "FP_EXCEPTION_RATE": "5000",
        "FP_MAX_NEXTHOPS": "64",
        "FP_PORTS": "wan=0000:03:00.0",
    }


@pytest.mark.functional
def test_without_systemd_it_says_that_a_restart_is_needed(machine: Machine) -> None:
    file = machine.work / "etc/sluice/fast-path.env"
    file.parent.mkdir(exist_ok=True)
    file.write_text("# of this machine\nFP_MTU=2000\n")
    state = f'<system xmlns="urn:sluice:system"><fast-path {FP}><state/></fast-path></system>'
    machine.commit(system(f"<fast-path {FP}><mtu>9000</mtu></fast-path>"))
    assert file.read_text() == "# of this machine\nFP_MTU=9000\n"
    assert "<restart-needed>true</restart-needed>" in machine.get(state)
    assert "FP_MTU: the fast path must be restarted" in machine.log
    assert json.loads((machine.work / "state/fast-path.json").read_text()) == {
        "FP_MTU": "FP_MTU=2000"
    }
    machine.commit(system(f"<fast-path {FP}><mtu{DELETE}/></fast-path>"))
    assert file.read_text() == "# of this machine\nFP_MTU=2000\n"
    assert not (machine.work / "state/fast-path.json").exists()


@pytest.mark.functional
def test_fp_rte_itself_refuses_what_cannot_be(machine: Machine) -> None:
    machine.stop()
    programs = Path(product.program("fp-rte")[0]).parent
    machine.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    machine.start()
    virtual = "<huge-pages>false</huge-pages><port><name>p1</name><device>net_null0</device></port>"
    error = machine.refused(system(f"<fast-path {FP}>{virtual}<cores>1023</cores></fast-path>"))
    assert "FP_CORES: CPU 1023 isn't there" in error["message"]
    assert error["path"].endswith("fast-path")
    file = machine.work / "etc/sluice/fast-path.env"
    assert not file.exists() or "1023" not in file.read_text()
    machine.commit(system(f"<fast-path {FP}>{virtual}<cores>0</cores></fast-path>"))
    assert "FP_PORTS=p1=net_null0\n" in file.read_text()
