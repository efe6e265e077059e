# SPDX-License-Identifier: BSD-3-Clause
"""The sample plugins in fp-rte, between two hosts: real sockets, counters, what fp-cli shows."""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from lab.netns import entered
from lab.proc import wait_for
from tests.functional.conftest import rigs
from tests.lib import product
from tests.lib.rig import Node, Rig, ping
from tests.plugins.test_plugins_load import SAMPLES

__all__ = ["rigs"]
pytestmark = pytest.mark.functional

VIRTUAL = "203.0.113.80"
SERVERS = ["198.51.100.11", "198.51.100.12", "198.51.100.13"]
IP_RECVTOS, IPV6_RECVTCLASS, IPV6_TCLASS = 13, 66, 67


@pytest.fixture(scope="module")
def rig(rigs: Callable[..., Rig]) -> Rig:
    where = "/usr/lib/sluice/plugins" if product.IN_VM else str(SAMPLES)
    plugins = (
        f"{where}/round_robin.so,address={VIRTUAL},port=80,servers={'/'.join(SERVERS)}",
        f"{where}/marker.so,rule=udp:5060-5061:46",
    )
    rig = rigs("plugins", FP_PLUGINS=" ".join(plugins))
    for server in SERVERS:
        rig.h2.ip(f"addr add {server}/24 dev eth0")
    return rig


def cli(rig: Rig, *words: str) -> Any:
    return json.loads(product.output("fp-cli", "--instance", rig.instance, "-j", *words))


def counters(rig: Rig, plugin: str) -> dict[str, int]:
    (row,) = (row for row in cli(rig, "plugins") if row["name"] == plugin)
    return {one["counter"]: one["count"] for one in row["counters"]}


def sent(rig: Rig, port: str) -> int:
    (row,) = (row for row in cli(rig, "stats") if row["name"] == port)
    return int(row["tx_packets"])


class Server(socketserver.ThreadingTCPServer):
    """Answers each question with its own address."""

    allow_reuse_address = True
    daemon_threads = True

    class RequestHandlerClass(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            own = self.request.getsockname()[0].encode()
            while data := self.request.recv(65536):
                self.request.sendall(own + b" " + data)


@contextmanager
def serving(node: Node, addresses: list[str]) -> Iterator[None]:
    """TCP servers on port 80."""
    with ExitStack() as stack:
        for address in addresses:
            with entered(node.namespace):
                server = stack.enter_context(Server((address, 80), Server.RequestHandlerClass))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield


def ask(rig: Rig, words: int = 5) -> str:
    """One connection to the virtual address with so many questions; who answered."""
    with entered(rig.h1.namespace):
        client = socket.socket()
    with client:
        client.settimeout(10)
        client.connect((VIRTUAL, 80))
        found = set()
        for number in range(words):
            question = f"question {number}".encode()
            client.sendall(question)
            answer = b""
            while not answer.endswith(question):
                piece = client.recv(65536)
                assert piece, "the server has hung up"
                answer += piece
            found.add(answer.split()[0].decode())
    (server,) = found
    return server


def test_connections_go_to_servers_in_turn(rig: Rig) -> None:
    with serving(rig.h2, SERVERS):
        # The first ones wait for Linux to find the servers' MAC addresses.
        for _ in SERVERS:
            ask(rig)
        before, packets = counters(rig, "round_robin"), sent(rig, "p2")
        found = [ask(rig) for _ in range(9)]
        after = counters(rig, "round_robin")
    first = SERVERS.index(found[0])
    assert found == (SERVERS[first:] + SERVERS[:first]) * 3
    assert after["flows"] - before["flows"] == 9
    moved = {name: after[name] - before[name] for name in after}
    for number in (1, 2, 3):
        # Three connections of at least syn, ack, 5 questions, fin.
        assert moved[f"server{number}"] >= 3 * 8
    assert moved["answers"] >= 9 * 8
    # The fast path carried them.
    assert sent(rig, "p2") - packets >= sum(moved[f"server{n}"] for n in (1, 2, 3))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_the_marker_sets_the_dscp(rig: Rig, family: socket.AddressFamily) -> None:
    target = "198.51.100.2" if family == socket.AF_INET else "2001:db8:2::2"
    assert ping(rig.h1, target, count=1, wait=5)
    with ExitStack() as stack:
        listeners = {}
        for port in (5059, 5060, 5061):
            with entered(rig.h2.namespace):
                one = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            if family == socket.AF_INET:
                one.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
            else:
                one.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
            one.bind((target, port))
            one.settimeout(10)
            listeners[port] = one
        with entered(rig.h1.namespace):
            client = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        before, packets = counters(rig, "marker")["rule1"], sent(rig, "p2")
        tos = {}
        for port, one in listeners.items():
            for _ in range(10):
                client.sendto(b"x", (target, port))
                _, ancillary, _, _ = one.recvmsg(100, 100)
                tos[port] = ancillary[0][2][0]
    assert tos == {5059: 0, 5060: 46 << 2, 5061: 46 << 2}
    assert counters(rig, "marker")["rule1"] - before == 20
    assert sent(rig, "p2") - packets >= 30


def test_fp_cli_shows_the_plugins(rig: Rig) -> None:
    rows = cli(rig, "plugins")
    assert [row["name"] for row in rows] == ["round_robin", "marker"]
    assert rows[0]["joined"] == ["ip_input"]
    assert rows[1]["joined"] == ["ip_inetif_send", "ip6_inet6if_send"]
    assert rows[1]["arguments"] == "rule=udp:5060-5061:46"
    shown = product.output("fp-cli", "--instance", rig.instance, "plugins")
    assert "packets that rule 1 gave DSCP 46" in shown


def test_counters_of_plugins_are_not_mixed_up_by_a_restart(rig: Rig) -> None:
    """Another fp-rte with the same plugins goes on counting; what has another name begins at 0."""
    before = counters(rig, "marker")
    rig.rte.stop()
    rig.rte.start()
    wait_for(lambda: ping(rig.h1, "198.51.100.2", count=1, wait=1), "fp-rte to forward", timeout=30)
    assert counters(rig, "marker") == before
