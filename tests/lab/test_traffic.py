import json

import pytest

from lab.errors import LabError
from lab.fastpath import Counters, linux_forwarded
from lab.traffic import parse_iperf, parse_ping, parse_trace


def test_ping_tells_sent_and_received():
    result = parse_ping("3 packets transmitted, 2 received, 33% packet loss, time 402ms\n")
    assert (result.sent, result.received) == (3, 2)
    assert result.loss == pytest.approx(1 / 3)


def test_ping_without_a_summary_is_an_error_with_its_last_line():
    with pytest.raises(LabError, match="Network is unreachable"):
        parse_ping("ping: connect: Network is unreachable\n")


def test_iperf_is_read_as_the_receiver_saw_it():
    received = {"bits_per_second": 5e6, "seconds": 2.0, "packets": 100, "lost_packets": 3}
    text = json.dumps({"end": {"sum_received": received, "sum_sent": {}}})
    assert parse_iperf(text, "udp").loss == pytest.approx(0.03)


def test_an_error_of_iperf_is_told():
    with pytest.raises(LabError, match="unable to connect"):
        parse_iperf('{"error": "unable to connect to server"}', "tcp")


def test_traceroute_shows_silent_routers_as_stars():
    text = "traceroute to 198.51.100.2\n 1  192.0.2.1  1 ms\n 2  * *\n 3  198.51.100.2  2 ms\n"
    assert parse_trace(text) == ["192.0.2.1", "*", "198.51.100.2"]


def test_forwarding_of_linux_is_counted_for_both_families():
    snmp = "Ip: Forwarding ForwDatagrams\nIp: 1 7\nIcmp: InMsgs\nIcmp: 3\n"
    assert linux_forwarded(snmp, "Ip6InReceives 9\nIp6OutForwDatagrams\t5\n") == 12


def test_the_share_of_the_fast_path_leaves_local_packets_out():
    before = Counters(forwarded=10, exceptions=5, linux_forwarded=1, reasons={"a": 1})
    after = Counters(forwarded=109, exceptions=55, linux_forwarded=2, reasons={"a": 1, "b": 50})
    delta = after - before
    assert delta.share == pytest.approx(0.99)
    assert delta.reasons == {"b": 50}
