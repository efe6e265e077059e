"""What a line means on the real models: statements, completion, help, mistakes. No server."""

import pytest
from sluice.shell import reader, tree
from sluice.shell.client import Fault, RpcError
from sluice.shell.place import Place, of_path
from sluice.shell.words import Line, Refused

from tests.shell.still import Still, schema


@pytest.fixture
def world() -> Still:
    return Still()


def words(world: Still, text: str) -> list[str]:
    return [option.word for option in reader.complete(world, text)[1]]


def run(world: Still, text: str) -> None:
    job = reader.parse(world, text)
    assert job is not None
    job.action()


def sets(world: Still, text: str) -> list[tuple[str, str | None]]:
    found = tree.statement(world, Line.of(text), world.place)
    return [(place.path(), value) for place, value in found.sets]


def test_a_line_sets_what_it_names(world: Still) -> None:
    eth0 = "/sluice-vrf:vrf[name='main']/sluice-iface:interface/physical[name='eth0']"
    assert sets(world, "/vrf main interface physical eth0 mtu 1400 enabled false") == [
        ("/sluice-vrf:vrf[name='main']", None),
        (eth0, None),
        (f"{eth0}/mtu", "1400"),
        (f"{eth0}/enabled", "false"),
    ]


def test_it_walks_like_a_file_system(world: Still) -> None:
    run(world, "/ vrf main interface physical eth0")
    assert str(world.place) == "/ vrf main interface physical eth0"
    run(world, "ipv4")
    run(world, "../ipv6")
    assert str(world.place) == "/ vrf main interface physical eth0 ipv6"
    run(world, ".. ..")
    assert str(world.place) == "/ vrf main interface"
    run(world, "/")
    assert world.place == Place()
    run(world, "vrf main routing/static")
    assert str(world.place) == "/ vrf main routing static"
    with pytest.raises(Refused, match="this is the top"):
        run(world, "/ ..")
    assert world.sent == [], "all of it is there already"


def test_an_entry_with_nothing_to_say_in_it_is_no_place_to_go_to(world: Still) -> None:
    run(world, "/vrf main interface physical eth0")
    run(world, "ipv4 address 192.0.2.7/24")
    assert str(world.place) == "/ vrf main interface physical eth0"
    assert "192.0.2.7/24" in world.sent[-1]


def test_blocks_lead_back_where_they_began(world: Still) -> None:
    run(world, "/vrf main interface {")
    run(world, "physical eth0 {")
    run(world, "mtu 1300")
    run(world, "}")
    assert str(world.place) == "/ vrf main interface"
    run(world, "physical eth1")
    assert str(world.place) == "/ vrf main interface", "in a block nothing else walks"
    run(world, "}")
    assert world.place == Place()
    with pytest.raises(Refused, match=r"there's no \{"):
        run(world, "}")


@pytest.mark.parametrize(
    ("line", "text", "word", "hint"),
    [
        ("/vrf main interface physical eth0 mtu 67", "mtu can't be '67'", "67", "68 to 65535"),
        ("/vrf main interface physical eth0 mtuu 67", "isn't known", "mtuu", "did you mean mtu?"),
        ("/vrf main interface physical eth0 enabled maybe", "enabled", "maybe", "one of true, false"),
        ("/vrf main interface physical eth0 ipv4 address 192.0.2.1", "ip can't be", "192.0.2.1",
         "192.0.2.1/24"),
        ("/vrf main routing static ipv4-route 10.1.0.0/40", "prefix", "10.1.0.0/40", "an IPv4 prefix"),
        ("/example:top mode slow", "mode can't be 'slow'", "slow", "one of fast, safe"),
        ("show confg", "isn't something to show", "confg", "did you mean config?"),
        ("show config | mach x", "isn't what can follow", "mach", "did you mean match?"),
        ("show config | match (", "isn't a regular expression", "(", ""),
        ("commit confirmed 0", "isn't a time", "0", "minutes"),
        ("show config } x", "isn't known", "}", ""),
    ],
)  # fmt: skip
def test_mistakes_point_at_their_word(
    world: Still, line: str, text: str, word: str, hint: str
) -> None:
    with pytest.raises(Refused) as refused:
        reader.parse(world, line)
    error = refused.value
    assert text in error.text
    assert line[error.start : error.end] == word
    assert hint in error.hint
    assert reader.check(world, line) is not None, "it's said while typing"


@pytest.mark.parametrize(
    "line",
    ["/vrf main interface physical eth0 m", "sh", "/vrf main inter", "commit comment 'a", ""],
)
def test_what_may_become_right_is_no_mistake_while_typing(world: Still, line: str) -> None:
    assert reader.check(world, line) is None


def test_completion_of_names_values_and_what_exists(world: Still) -> None:
    assert words(world, "sh") == ["show"]
    assert words(world, "/vrf main inter") == ["interface"]
    assert words(world, "/vrf ") == ["blue", "main"]
    assert words(world, "/example:top mode ") == ["fast", "safe"]
    assert words(world, "/vrf main interface physical eth0 enabled ") == ["true", "false"]
    assert words(world, "del /vrf main routing static ipv4-route ") == ["10.1.0.0/16"]
    assert words(world, "show config | ma") == ["match"]
    assert words(world, "commit con") == ["confirmed"]


def test_completion_of_references_and_live_values(world: Still) -> None:
    assert words(world, "/vrf main interface veth c0 peer-vrf ") == ["blue", "main"]
    # The model suggests interfaces that Linux has, of the same VRF.
    assert words(world, "/vrf main interface physical ") == ["eth0", "eth1", "eth9"]
    assert words(world, "/vrf blue interface physical ") == ["hidden"]


def test_completion_quotes_what_needs_it(world: Still) -> None:
    start, options = reader.complete(world, "show state vrf 'ma")
    assert start == len("show state vrf ")
    assert [option.word for option in options] == ["main"]


def test_help_says_what_can_stand_there(world: Still) -> None:
    lines = list(reader.describe(world, "/vrf main interface physical eth0 "))
    assert any(line.split() == ["enabled", "Up", "or", "down."] for line in lines)
    assert any("<enter>" in line for line in lines)
    (line,) = reader.describe(world, "/vrf main interface physical eth0 mtu ")
    assert line.strip() == "mtu: a number, 68 to 65535 (bytes)"
    assert any("confirmed" in line for line in reader.describe(world, "commit "))


def test_editing_words_outside_of_it_say_how_to_begin() -> None:
    world = Still(editing=False)
    for line in ("vrf main", "del vrf", "/vrf main"):
        with pytest.raises(Refused) as refused:
            reader.parse(world, line)
        assert "edit running" in refused.value.hint
    assert "vrf" in words(world, "show state ")


def test_what_the_server_refuses_is_pointed_at(
    world: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/sluice-vrf:vrf[sluice-vrf:name='main']/sluice-vrf:description"

    def refuse(_config: bytes) -> None:
        raise RpcError([Fault("access-denied", "no write access", path, "", {})])

    monkeypatch.setattr(world, "_send", refuse)
    line = "/vrf main description x"
    with pytest.raises(Refused, match="no write access") as refused:
        run(world, line)
    assert line[refused.value.start : refused.value.end] == "x"


def test_choices_between_cases_and_operations_of_models(world: Still) -> None:
    assert sets(world, "/example:top tcp-port 5") == [("/example:top/tcp-port", "5")]
    assert words(world, "cmd gre") == ["greet"]
    assert words(world, "cmd greet ") == ["name"]
    with pytest.raises(Refused, match="'name' is missing"):
        reader.parse(world, "cmd greet")


def test_paths_of_errors_are_told_as_they_are_typed(world: Still) -> None:
    def told(path: str) -> str:
        return str(of_path(schema(), path))

    with_prefixes = (
        "/sluice-vrf:vrf[sluice-vrf:name='main']/sluice-iface:interface/sluice-iface:physical"
        "[sluice-iface:name='eth0']/sluice-iface:mtu"
    )
    assert told(with_prefixes) == "/ vrf main interface physical eth0 mtu"
    assert told("/example:top/tag[.='a b']") == '/ top tag "a b"'
    assert of_path(schema(), "/nonsense:x") is None
