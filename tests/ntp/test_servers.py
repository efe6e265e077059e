"""Time servers: what's written, what's read, and who refuses. The clock itself is set in the VM only."""

import pytest
from sluice.features.ntp.mgmt import drop_in, parsed

from tests.mgmt.machine import Machine, system


def test_the_drop_in_replaces_the_images_servers() -> None:
    text = drop_in(["192.0.2.123", "ntp.example.org"])
    assert text.splitlines()[1:] == ["[Time]", "NTP=", "NTP=192.0.2.123 ntp.example.org"]


def test_what_timedatectl_says() -> None:
    said = (
        "LinkNTPServers=\nSystemNTPServers=192.0.2.123\nServerName=192.0.2.123\nServerAddress=192.0.2.123\n"
        "NTPMessage={ Leap=0, Version=4, Mode=4, Stratum=3, Precision=-24, Jitter=1ms }\nFrequency=0\n"
    )
    assert parsed(said) == {"server": "192.0.2.123", "address": "192.0.2.123", "stratum": 3}
    assert parsed("ServerName=\nNTPMessage=\n") == {}


@pytest.mark.functional
def test_a_machine_without_timesyncd_refuses(machine: Machine) -> None:
    error = machine.refused(
        system('<ntp xmlns="urn:sluice:ntp"><server>192.0.2.123</server></ntp>')
    )
    assert "systemd-timesyncd" in error["message"]
    assert error["path"].endswith("ntp:ntp")
