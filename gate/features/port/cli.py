# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli ports.

Keys of `-j`: port (number), name, driver (DPDK's), device (as configured), backend (how it appears
in Linux: vhost or queue), mac, link (cable plugged), speed (Mbit/s, 0: unknown), mtu, ifindex (of
the TAP), in_linux (the sync daemons know its interface), capturing
(packet sockets in Linux, such as tcpdump's, get copies of its packets), rx_queues, tx_queues; counters of the
device rx_packets, rx_bytes, rx_missed, rx_errors, rx_nombuf, tx_packets, tx_bytes, tx_errors; of
the TAP to_linux_packets, to_linux_bytes, from_linux_packets, from_linux_bytes, tap_drops;
overloads (how often a receive queue became overloaded), captured (copies shown to packet sockets
such as tcpdump's). The counters are refreshed about ten times a second.
"""

import argparse

from sluice.cli.command import Command, Row
from sluice.cli.text import mac_text, text
from sluice.cli.view import View

COUNTERS = (
    "rx_packets", "rx_bytes", "rx_missed", "rx_errors", "rx_nombuf", "tx_packets", "tx_bytes", "tx_errors",
    "to_linux_packets", "to_linux_bytes", "from_linux_packets", "from_linux_bytes", "tap_drops",
    "overloads", "captured",
)  # fmt: skip


def ports(view: View, _: argparse.Namespace) -> list[Row]:
    """Each port that fp-rte has."""
    states = view.stats.rows("port_state", "struct port_state_row")
    known = view.config_or_none()
    in_config = known.rows("port", "struct port_row") if known else None
    found: list[Row] = []
    for number, state in enumerate(states):
        name = text(state.name)
        if not name:
            continue
        row: Row = {
            "port": number,
            "name": name,
            "driver": text(state.driver),
            "device": text(state.device),
            "backend": text(state.backend),
            "mac": mac_text(state.mac),
            "link": bool(state.link_up),
            "speed": state.speed,
            "mtu": state.mtu,
            "ifindex": state.tap_ifindex,
            "in_linux": in_config is not None and in_config[number].iface != 0,
            "capturing": bool(state.capturing),
            "rx_queues": state.n_rxq,
            "tx_queues": state.n_txq,
        }
        row.update({key: getattr(state, key) for key in COUNTERS})
        found.append(row)
    return found


COMMANDS = (
    Command(
        name="ports",
        help="network devices of the fast path, and their TAPs in Linux",
        run=ports,
        columns=(
            ("port", "PORT"),
            ("name", "NAME"),
            ("driver", "DRIVER"),
            ("device", "DEVICE"),
            ("backend", "TAP"),
            ("mac", "MAC"),
            ("link", "LINK"),
            ("speed", "MBIT/S"),
            ("mtu", "MTU"),
            ("rx_packets", "RX"),
            ("rx_missed", "MISSED"),
            ("tx_packets", "TX"),
            ("to_linux_packets", "TO LINUX"),
            ("from_linux_packets", "FROM LINUX"),
            ("tap_drops", "TAP DROPS"),
        ),
        nothing="The fast path has no ports.",
    ),
)
