"""The fast path as fp-cli shows it: tables as objects, counters as numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.proc import Completed, run
from tests.lib import product

COMMANDS = (
    "status", "ports", "interfaces", "routes", "neighbours", "stats", "drops", "exceptions", "tables", "rings",
    "refused",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Counters:
    """A snapshot, or the difference of two."""

    forwarded: int  # packets the fast path sent that it had received
    exceptions: int  # packets it handed to Linux
    drops: int
    reasons: Mapping[str, int] = field(default_factory=dict)  # of exceptions and drops, by name

    def __sub__(self, before: "Counters") -> "Counters":
        deltas = {name: count - before.reasons.get(name, 0) for name, count in self.reasons.items()}
        return Counters(
            forwarded=self.forwarded - before.forwarded,
            exceptions=self.exceptions - before.exceptions,
            drops=self.drops - before.drops,
            reasons={name: delta for name, delta in deltas.items() if delta},
        )

    def __str__(self) -> str:
        reasons = ", ".join(f"{name} {count}" for name, count in self.reasons.items())
        return (
            f"{self.forwarded} forwarded, {self.exceptions} exceptions, {self.drops} drops"
            f" ({reasons or 'no reasons'})"
        )


class FastPath:
    def __init__(self, instance: str) -> None:
        self.instance = instance

    def cli(self, *words: str, check: bool = True) -> Completed:
        return self.program("fp-cli", *words, check=check)

    def program(self, name: str, *words: str, check: bool = True) -> Completed:
        env = product.environment()
        path = f"PYTHONPATH={env['PYTHONPATH']}" if "PYTHONPATH" in env else "--unset=PYTHONPATH"
        argv = ["env", path, *product.program(name), "--instance", self.instance, *words]
        return run(argv, check=check)

    def differences(self, *options: str) -> list[dict[str, Any]]:
        """What `fp-sync check` finds."""
        done = self.program("fp-sync", "-j", "check", *options, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout) if done.stdout else []
        assert done.returncode == bool(found), done
        return found

    def table(self, command: str) -> Any:
        """One command's rows. fp-cli's code runs in this process: tests ask often, and starting
        Python takes seconds where the machine is emulated."""
        return json.loads(self.ask("-j", *command.split()))

    def ask(self, *words: str) -> str:
        """What fp-cli would print."""
        from sluice.cli.main import run as run_cli

        return run_cli(["--instance", self.instance, *words])

    def counters(self) -> Counters:
        reasons = {
            kind: {row["reason"]: int(row["packets"]) for row in self.table(kind)}
            for kind in ("exceptions", "drops")
        }
        return Counters(
            forwarded=sum(row["tx_packets"] for row in self.table("stats")),
            exceptions=sum(reasons["exceptions"].values()),
            drops=sum(reasons["drops"].values()),
            reasons=reasons["exceptions"] | reasons["drops"],
        )

    def used(self, table: str) -> int:
        """How many rows of a table are in use."""
        return next(int(row["used"]) for row in self.table("tables") if row["table"] == table)

    def guarded(self) -> bool:
        """Whether policies of Linux keep packets of a family on its path."""
        from _sluice import lib
        from sluice.shm import Tables

        tables = Tables(self.instance)  # what structs gives is only there as long as this is
        flags = int(tables.structs("vrf")[0].flags)
        return bool(flags & (lib.FPC_VRF_POLICY4 | lib.FPC_VRF_POLICY6))

    def multipath(self) -> tuple[int, int]:
        """How next hops are chosen in VRF 0: the policy that both families have (-1: not the same), and the seed."""
        from _sluice import lib
        from sluice.shm import Tables

        tables = Tables(self.instance)
        vrf = tables.structs("vrf")[0]
        ports = {
            bool(vrf.flags & lib.FPC_VRF_MULTIPATH4_PORTS),
            bool(vrf.flags & lib.FPC_VRF_MULTIPATH6_PORTS),
        }
        return int(ports.pop()) if len(ports) == 1 else -1, int(vrf.multipath_seed)

    def everything(self) -> str:
        """All tables as text, whatever state the daemons are in."""
        from sluice.cli.error import CliError

        parts = []
        for command in COMMANDS:
            try:
                text = self.ask(command)
            except CliError as error:
                text = f"error: {error.text}"
            parts.append(f"### fp-cli {command}\n{text}\n")
        return "\n".join(parts)
