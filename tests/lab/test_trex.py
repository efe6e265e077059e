from pathlib import Path

import pytest

from lab.errors import LabError
from lab.trex import Location, Trial, location


def test_without_trex_there_is_no_generator():
    assert location("") is None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("trex", "trex", 4501),
        ("192.0.2.9:4502", "192.0.2.9", 4502),
        ("[2001:db8::1]:99", "2001:db8::1", 99),
    ],
)
def test_a_server_is_named_by_host_and_port(text, host, port):
    assert location(text) == Location(host=host, port=port)


def test_an_ipv6_address_needs_no_brackets_without_a_port():
    assert location("::1") == Location(host="::1")


def test_a_release_directory_brings_its_own_client(tmp_path: Path):
    (tmp_path / "t-rex-64").touch()
    assert location(str(tmp_path)) == Location(host="127.0.0.1", release=tmp_path)


@pytest.mark.parametrize("text", ["trex:0", "trex:x", "/nowhere/trex"])
def test_a_wrong_location_is_an_error_with_a_hint(text):
    with pytest.raises(LabError) as caught:
        location(text)
    assert caught.value.hint


def trial(**changes):
    values = {"asked_pps": 1000, "asked_seconds": 10, "wall_seconds": 10.1}
    values |= {"sent": 10000, "received": 10000, "errors": 0}
    return Trial(**(values | changes))


def test_a_good_trial_is_believed_and_rates_are_of_the_wall_clock():
    assert trial().doubts == []
    assert trial().sent_pps == pytest.approx(10000 / 10.1)


@pytest.mark.parametrize("changes", [{"sent": 9899}, {"wall_seconds": 10.21}, {"errors": 1}])
def test_a_trial_of_a_generator_at_its_limit_is_rejected(changes):
    assert trial(**changes).doubts
