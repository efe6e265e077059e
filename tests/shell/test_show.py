"""How data is shown, and that what's shown can be read again."""

import json
from pathlib import Path

import pytest
from sluice.mgmt.yang import Format, Tree
from sluice.shell import load
from sluice.shell.place import Place, of_path
from sluice.shell.show import View, difference, table

from tests.shell.still import CONFIG, STATE, Still, schema

TEXT = """\
vrf blue
vrf main {
    interface {
        physical eth0 {
            mtu 1400
            ipv4 address 192.0.2.1/24
        }
        physical eth1 description "to the 'left' | right; # {x}"
    }
    routing static ipv4-route 10.1.0.0/16 {
        next-hop blackhole
        next-hop 192.0.2.2 weight 3
    }
}
"""


def config() -> Tree:
    return schema().parse(json.dumps(CONFIG))


def place(path: str) -> Place:
    found = of_path(schema(), path)
    assert found is not None
    return found


def test_blocks_are_what_people_would_type() -> None:
    assert "".join(f"{line}\n" for line in View(config(), Place()).text()) == TEXT


@pytest.mark.parametrize("form", ["text", "flat", "json", "xml"])
def test_what_is_shown_can_be_loaded(tmp_path: Path, form: str) -> None:
    view = View(config(), Place())
    file = tmp_path / "config"
    file.write_text(
        {
            "text": lambda: "\n".join(view.text()),
            "flat": lambda: "\n".join(view.flat()),
            "json": lambda: json.dumps(view.value(), indent=1),
            "xml": lambda: f"<config>\n{view.xml()}</config>",
        }[form]()
    )
    tree = schema().parse(load.read(Still(), file), Format.XML)
    assert not config().diff(tree)
    assert not tree.diff(config())


@pytest.mark.parametrize(
    ("text", "number", "said"),
    [
        ("vrf main {\n  interface {\n    physical eth0 mtu 9\n  }\n}\n", 3, "mtu can't be '9'"),
        ("vrf main {\n\n", 1, "this { has no }"),
        ("}\n", 1, "there's no {"),
        ("vrf main\nset vrf main nonsense\n", 2, "isn't known"),
        ('{"sluice-vrf:vrf": [\n{"name": "main",\n"nonsense": 1}]}', 3, "nonsense"),
        ('{"sluice-vrf:vrf": [\n{"name": "main"\n', 3, ""),
        ('<config>\n<vrf xmlns="urn:sluice:vrf">\n<name>x</name>\n<bla/></vrf></config>', 4, "bla"),
        ("<config>\n<vrf>\n</config>", 3, "mismatch"),
    ],
)
def test_a_wrong_file_names_the_line(tmp_path: Path, text: str, number: int, said: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(load.FileError) as error:
        load.read(Still(), file)
    assert error.value.number == number, str(error.value)
    assert f"{file}, line {number}: " in str(error.value)
    assert said in str(error.value)


def test_state_leaves_configuration_out() -> None:
    tree = schema().parse(json.dumps(STATE), state=True)
    merged = config()
    merged.merge(tree)
    lines = list(View(merged, Place(), config=False, state=True).flat())
    assert "/ vrf main interface-state interface eth0 statistics in-pkts 5" in lines
    assert not any("physical" in line for line in lines)
    value = View(merged, Place(), config=False, state=True).value()
    assert "sluice-iface:interface" not in value["sluice-vrf:vrf"][0]
    below = View(merged, place("/sluice-vrf:vrf[name='blue']"), config=False, state=True)
    assert [entry["name"] for entry in below.value()["sluice-vrf:vrf"]] == ["blue"]


def test_a_table_has_a_row_for_each_entry() -> None:
    tree = schema().parse(json.dumps(STATE), state=True)
    where = place("/sluice-vrf:vrf[name='main']/sluice-iface:interface-state")
    rows = View(tree, where, config=False, state=True).rows()
    assert rows[0] == {"name": "eth0", "mtu": "1400", "statistics in-pkts": "5"}
    assert rows[1]["address"] == "192.0.2.9/24 2001:db8::9/64"
    lines = list(table(rows))
    assert lines[0].split() == ["name", "mtu", "statistics", "in-pkts", "address"]
    assert len(lines) == 4


def test_a_difference_names_what_goes_and_what_comes() -> None:
    assert list(difference(["/ a", "/ b x 1"], ["/ a y 2", "/ b x 2"])) == [
        "- / b x 1",
        "+ / a y 2",
        "+ / b x 2",
    ]
    assert list(difference(["/ a 1"], ["/ a"])) == ["- / a 1"]
    assert list(difference(["/ a 1"], [])) == ["- / a 1"]
