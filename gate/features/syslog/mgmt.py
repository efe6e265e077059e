# SPDX-License-Identifier: BSD-3-Clause
"""The log to remote receivers: an rsyslogd of our own, which reads the journal, or /dev/log where there's none."""

from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt.feature import Entry, Feature, State, Watch
from sluice.mgmt.host import host, lines
from sluice.mgmt.service import DaemonApplier, Service, pid_file

NAME = "syslog"
JOURNAL = Path("/run/systemd/journal/socket")
# CAP_DAC_READ_SEARCH isn't there: root owns the journal's files. CAP_SYSLOG: rsyslogd drops it, so it wants to have it.
SANDBOX = (
    "CapabilityBoundingSet=CAP_SYSLOG",
    "NoNewPrivileges=yes",
    "ProtectSystem=full",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6",
)


class Sender(DaemonApplier):
    name: ClassVar[str] = "syslog"
    watches = (Watch("/sluice-system:system/sluice-syslog:syslog"),)

    def service_name(self, entry: Entry) -> str:
        return NAME

    def service(self, entry: Entry, value: dict[str, Any]) -> Service:
        return Service(
            name=NAME,
            text="log to remote receivers",
            command=(
                *("/usr/sbin/rsyslogd", "-n", "-C", "-f", f"{host.files / NAME}.conf"),
                *("-i", str(pid_file(NAME))),
            ),
            vrf=value["vrf"],
            files={f"{NAME}.conf": configuration(value)},
            sandbox=SANDBOX,
        )

    async def apply(self, entries: list[Entry]) -> None:
        await super().apply([entry for entry in entries if (entry.new or {}).get("remote")])
        await self.remove([entry for entry in entries if not (entry.new or {}).get("remote")])


def configuration(value: dict[str, Any]) -> str:
    """rsyslogd's, for the receivers."""
    state = host.state / "syslog"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = [f'global(workDirectory="{state}")']
    if JOURNAL.exists():
        # Begins with what comes from now on, then goes on where it was.
        text.append(
            'module(load="imjournal" StateFile="journal" IgnorePreviousMessages="on" Ratelimit.Burst="20000")'
        )
    else:
        text.append('module(load="imuxsock")')
    for one in value["remote"]:
        facilities = ",".join(one.get("facility", [])) or "*"
        text += [
            f"{facilities}.{one['severity']} action(",
            f'  type="omfwd" target="{one["host"]}" port="{one["port"]}" protocol="{one["protocol"]}"',
            '  template="RSYSLOG_SyslogProtocol23Format" TCP_Framing="octet-counted"',
            '  action.resumeRetryCount="-1" queue.type="LinkedList" queue.size="10000"',
            ")",
        ]
    return lines("# Made by yamsd from its configuration; a change here is lost.", text)


async def state() -> dict[str, Any]:
    running = (await host.services.status(NAME)).running
    return {"sluice-system:system": {"sluice-syslog:syslog": {"state": {"running": running}}}}


FEATURE = Feature(
    name="syslog",
    models=(Path(__file__).parent / "sluice-syslog.yang",),
    appliers=(Sender(),),
    states=(State("/sluice-system:system/sluice-syslog:syslog/state", state),),
)
