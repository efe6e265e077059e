# SPDX-License-Identifier: BSD-3-Clause
"""Settings of the fast path: /etc/sluice/fast-path.env. Lines of it that no statement covers stay as they are."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch
from sluice.mgmt.host import INSTANCE, SYSTEMD, host, read, remove, run, write

log = logging.getLogger("yamsd")

FILE = Path("/etc/sluice/fast-path.env")
PATH = "/sluice-system:system/sluice-fastpath:fast-path"
# Where in the model, and the setting's name.
NUMBERS = {
    "control-core": "FP_CONTROL_CORE",
    "exception-core": "FP_EXCEPTION_CORE",
    "memory": "FP_MEMORY",
    "packet-buffers": "FP_MBUFS",
    "mtu": "FP_MTU",
    "rx-descriptors": "FP_RX_DESCRIPTORS",
    "tx-descriptors": "FP_TX_DESCRIPTORS",
    "idle-sleep": "FP_IDLE_SLEEP",
    "exceptions/rate": "FP_EXCEPTION_RATE",
    "exceptions/total": "FP_EXCEPTION_TOTAL",
    "exceptions/control": "FP_EXCEPTION_CONTROL",
    "limits/interfaces": "FP_MAX_INTERFACES",
    "limits/neighbours": "FP_MAX_NEIGHBOURS",
    "limits/next-hops": "FP_MAX_NEXTHOPS",
    "limits/ipv4-lines": "FP_MAX_IPV4_LINES",
    "limits/ipv6-lines": "FP_MAX_IPV6_LINES",
    "limits/ipsec-sas": "FP_MAX_SAS",
    "limits/ipsec-policies": "FP_MAX_IPSEC_POLICIES",
}
WORDS = {"cores": "FP_CORES", "tap": "FP_TAP"}
SWITCHES = {"huge-pages": "FP_HUGEPAGES", "spread": "FP_SPREAD"}
# fpmd sizes its tables by these, so it starts anew as well.
FPMD = "FP_MAX_"
# Two daemons' TimeoutStartSec, and a bit.
RESTART_WITHIN = 400.0


def settings_of(value: dict[str, Any]) -> dict[str, str]:
    """What the statements say, by the settings' names."""
    found: dict[str, str] = {}
    for place, name in (NUMBERS | WORDS | SWITCHES).items():
        at: Any = value
        for step in place.split("/"):
            at = (at or {}).get(step)
        if at is not None:
            found[name] = ("yes" if at else "no") if isinstance(at, bool) else str(at)
    if value.get("port"):
        found["FP_PORTS"] = " ".join(f"{one['name']}={one['device']}" for one in value["port"])
    if value.get("plugin"):
        found["FP_PLUGINS"] = " ".join(value["plugin"])
    return found


Before = dict[str, str | None]


def rewritten(text: str, wanted: dict[str, str], before: Before) -> tuple[str, Before]:
    """The file with the wanted settings, and the lines (or none) that they cover. Settings that aren't covered any more
    get their lines back.
    """
    lines, before = text.splitlines(), dict(before)
    for name in wanted.keys() | before.keys():
        active = [n for n, line in enumerate(lines) if re.match(rf"\s*{name}\s*=", line)]
        if name in wanted:
            if name not in before:
                before[name] = lines[active[-1]] if active else None
            value = wanted[name]
            now: str | None = f'{name}="{value}"' if " " in value else f"{name}={value}"
        else:
            now = before.pop(name)
        if active:
            at = active[0]
        else:
            comment = [n for n, line in enumerate(lines) if line.startswith(f"#{name}=")]
            at = comment[0] + 1 if comment else len(lines)
        for number in reversed(active):
            del lines[number]
        if now is not None:
            lines.insert(at, now)
    return "".join(f"{line}\n" for line in lines), before


class Settings(Applier):
    name: ClassVar[str] = "fast path"
    order: ClassVar[int] = 25
    watches = (Watch(PATH),)

    async def prepare(self, entries: list[Entry]) -> None:
        program = shutil.which("fp-rte")
        for entry in entries:
            text, _, changed = self.plan(entry.new or {})
            if program is None or not changed:
                continue
            # fp-rte itself says what's wrong with it, before anything is restarted.
            trial = host.run / "fast-path.env"
            write(trial, text)
            try:
                await run([program, "--check", f"--env={trial}"], path=entry.path)
            finally:
                remove(trial)

    async def remove(self, entries: list[Entry]) -> None:
        await self.set({})

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            await self.set(entry.new or {})

    @staticmethod
    def plan(value: dict[str, Any]) -> tuple[str, Before, set[str]]:
        """The file's next text, the lines it covers, and the settings that change."""
        kept = read(host.state / "fast-path.json")
        was = read(FILE) or ""
        text, before = rewritten(was, settings_of(value), json.loads(kept) if kept else {})
        old, new = active(was), active(text)
        changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        return text, before, changed

    async def set(self, value: dict[str, Any]) -> None:
        text, before, changed = self.plan(value)
        # What's covered first: after a crash in between it's only written again.
        if before:
            write(host.state / "fast-path.json", json.dumps(before), mode=0o600)
        if text or FILE.exists():
            write(FILE, text)
        if not before:
            remove(host.state / "fast-path.json")
        if changed:
            await restart(changed)


def active(text: str) -> dict[str, str]:
    """The settings that a file makes; auto is none."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        value = value.strip().strip("\"'")
        if equals and name[:1] not in "#;" and value != "auto":
            found[name.strip()] = value
    return found


async def restart(changed: set[str]) -> None:
    """The daemons read the file at their start only."""
    names = ", ".join(sorted(changed))
    if not SYSTEMD.is_dir():
        log.warning("%s: the fast path must be restarted to take that", names)
        write(host.run / "fast-path-restart-needed", names)
        return
    units = ["sluice-ports.service", "fp-rte.service"]
    if any(name.startswith(FPMD) for name in changed):
        units.insert(1, "fpmd.service")
    if not await host.services.known("fp-rte.service"):
        return
    log.warning("%s: the fast path is restarted to take that", names)
    await run(["systemctl", "restart", *units], within=RESTART_WITHIN)
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    write(
        host.run / "fast-path-restart.json",
        json.dumps({"time": now, "setting": sorted(changed)}),
    )


def state() -> dict[str, Any]:
    found: dict[str, Any] = {
        "restart-needed": (host.run / "fast-path-restart-needed").exists(),
    }
    text = read(host.run / "fast-path-restart.json")
    if text:
        found["last-restart"] = json.loads(text)
    found |= looked_at()
    return {"sluice-system:system": {"sluice-fastpath:fast-path": {"state": found}}}


def looked_at() -> dict[str, Any]:
    """What the shared memory says; what isn't there isn't told."""
    try:
        from sluice.cli import shared
        from sluice.cli.error import CliError
        from sluice.cli.view import View
        from sluice.features.port.cli import ports
    except ImportError as error:
        log.debug("no fast path here: %s", error)
        return {}
    import argparse

    view, arguments = View(INSTANCE), argparse.Namespace(all=False)
    found: dict[str, Any] = {}

    def tell(name: str, rows: Callable[[], list[dict[str, Any]]]) -> None:
        try:
            found[name] = rows()
        except CliError as error:
            log.debug("fast path, %s: %s", name, error)

    def reasons(kind: int) -> list[dict[str, Any]]:
        return [
            {"reason": row["reason"], "meaning": row["text"], "packets": str(row["packets"])}
            for row in shared.reasons(view, arguments, kind)
        ]

    def daemons() -> list[dict[str, Any]]:
        return [
            {"name": row["daemon"], "running": row["alive"]}
            | ({"pid": row["pid"]} if row["pid"] else {})
            for row in shared.status(view, arguments)
        ]

    def tables() -> list[dict[str, Any]]:
        return [
            {"name": row["table"], "used": row["used"], "capacity": row["capacity"]}
            for row in shared.tables(view, arguments)
            if row["file"] == "config" and row["most"]
        ]

    def all_ports() -> list[dict[str, Any]]:
        return [
            {
                "name": row["name"],
                "device": row["device"],
                "driver": row["driver"],
                "link-up": row["link"],
                "speed": row["speed"],
                **{name: str(row[name.replace("-", "_")]) for name in PORT_COUNTERS},
            }
            for row in ports(view, arguments)
        ]

    tell("daemon", daemons)
    tell("port", all_ports)
    tell("drop", lambda: reasons(shared.REASON_DROP))
    tell("exception", lambda: reasons(shared.REASON_EXCEPTION))
    tell("table", tables)
    return found


PORT_COUNTERS = (
    "rx-packets", "rx-bytes", "rx-missed", "rx-errors", "tx-packets", "tx-bytes", "tx-errors",
    "to-linux-packets", "from-linux-packets",
)  # fmt: skip


FEATURE = Feature(
    name="fastpath",
    models=(Path(__file__).parent / "sluice-fastpath.yang",),
    appliers=(Settings(),),
    states=(State(f"{PATH}/state", state),),
)
