"""Who forwarded the packets: the fast path's counters beside those of Linux's own forwarding.

Both are needed. A test that only sees its pings answered proves nothing about the fast path, and
the fast path's counters alone don't tell what Linux forwarded besides.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lab.appliance import Appliance, Json
from lab.errors import LabError

SNMP = "/proc/net/snmp"
SNMP6 = "/proc/net/snmp6"


@dataclass(frozen=True, kw_only=True)
class Counters:
    """A snapshot, or the difference of two."""

    forwarded: int  # packets the fast path sent that it had received
    exceptions: int  # packets it handed to Linux
    linux_forwarded: int  # packets that Linux forwarded, IPv4 and IPv6
    reasons: Mapping[str, int] = field(default_factory=dict)  # of exceptions and drops

    def __sub__(self, before: "Counters") -> "Counters":
        names = [*self.reasons, *(name for name in before.reasons if name not in self.reasons)]
        deltas = {name: self.reasons.get(name, 0) - before.reasons.get(name, 0) for name in names}
        return Counters(
            forwarded=self.forwarded - before.forwarded,
            exceptions=self.exceptions - before.exceptions,
            linux_forwarded=self.linux_forwarded - before.linux_forwarded,
            reasons={name: delta for name, delta in deltas.items() if delta},
        )

    @property
    def share(self) -> float:
        """The fast path's part of all forwarded packets, 0 to 1."""
        total = self.forwarded + self.linux_forwarded
        return self.forwarded / total if total else 0.0


def counters(appliance: Appliance) -> Counters:
    """All counters, of one moment as nearly as can be."""
    said = appliance.asker.ask(("stats", "exceptions", "drops"), (SNMP, SNMP6))
    reasons: dict[str, int] = {}
    for row in said["exceptions"] + said["drops"]:
        name, count = reason_row(row)
        if count:
            reasons[name] = reasons.get(name, 0) + count
    return Counters(
        forwarded=total(said["stats"], "tx_packets"),
        exceptions=total(said["stats"], "exceptions"),
        linux_forwarded=linux_forwarded(said[SNMP], said[SNMP6]),
        reasons=reasons,
    )


def total(rows: Json, column: str) -> int:
    try:
        return sum(int(row[column]) for row in rows)
    except (KeyError, TypeError, ValueError):
        raise LabError(
            f"`fp-cli -j stats` has no number {column} in each row: {json.dumps(rows)[:200]}"
        ) from None


def reason_row(row: Json) -> tuple[str, int]:
    try:
        return str(row["reason"]), int(row["packets"])
    except (KeyError, TypeError, ValueError):
        raise LabError(f"fp-cli's reason has no name or count: {json.dumps(row)[:200]}") from None


def linux_forwarded(snmp: str, snmp6: str) -> int:
    """Packets Linux forwarded, from the texts of /proc/net/snmp and snmp6."""
    names, values = (line.split() for line in snmp.splitlines() if line.startswith("Ip:"))
    ipv4 = int(dict(zip(names, values, strict=True))["ForwDatagrams"])
    match = re.search(r"^Ip6OutForwDatagrams\s+(\d+)", snmp6, re.MULTILINE)
    return ipv4 + (int(match[1]) if match else 0)


def reasons_text(reasons: Mapping[str, int], *, most: int = 5) -> str:
    """The most frequent reasons, as `name 12, other 3`."""
    ordered: Sequence[tuple[str, int]] = sorted(reasons.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in ordered[:most])
