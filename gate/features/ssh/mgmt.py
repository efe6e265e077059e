# SPDX-License-Identifier: BSD-3-Clause
"""SSH servers: an OpenSSH in each VRF that asks for one; in main the image's own, by a file that it includes."""

from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Entry, Feature, State, Watch
from sluice.mgmt.host import Covered, host, lines, run
from sluice.mgmt.service import DaemonApplier, Service, pid_file

SSHD = "/usr/sbin/sshd"
# The system's own server, and where it takes statements from: the first one wins, so it's read before the image's.
UNIT = "ssh.service"
DROP_IN = Path("/etc/ssh/sshd_config.d/05-sluice.conf")
HOST_KEY = Path("/etc/ssh/ssh_host_ed25519_key")
HEAD = "# Made by yamsd from its configuration; a change here is lost."


class Server(DaemonApplier):
    name: ClassVar[str] = "SSH server"
    watches = (Watch("/sluice-vrf:vrf/sluice-ssh:ssh-server"),)

    async def booted(self) -> None:
        if await host.services.known(UNIT):
            await systems_own(None)

    async def prepare(self, entries: list[Entry]) -> None:
        for entry in entries:
            if not Path(SSHD).exists():
                raise ConfigError(f"there's no {SSHD} on this machine", path=entry.path)

    def service_name(self, entry: Entry) -> str:
        return f"ssh-{entry.keys[0]}"

    def service(self, entry: Entry, value: dict[str, Any]) -> Service:
        (vrf,) = entry.keys
        name = self.service_name(entry)
        text = [
            HEAD,
            f"HostKey {HOST_KEY}",
            f"PidFile {pid_file(name)}",
            f"UsePAM {'yes' if Path('/etc/pam.d/sshd').exists() else 'no'}",
            f"AuthorizedKeysFile .ssh/authorized_keys {host.files}/keys/%u",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "X11Forwarding no",
            "UseDNS no",
            "Subsystem sftp internal-sftp",
            *said(value),
        ]
        return Service(
            name=name,
            text=f"SSH server of VRF {vrf}",
            command=(SSHD, "-D", "-e", "-f", f"{host.files / name}.conf"),
            vrf=vrf,
            files={f"{name}.conf": lines(text)},
            # As Debian's own: sessions outlive the server.
            sandbox=("KillMode=process", "RuntimeDirectory=sshd", "RuntimeDirectoryPreserve=yes"),
        )

    async def remove(self, entries: list[Entry]) -> None:
        for entry in entries:
            if await self.is_systems(entry):
                await systems_own(None)
            else:
                await super().remove([entry])

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            value = entry.new or {}
            if await self.is_systems(entry):
                await systems_own(value)
            elif value["enabled"]:
                await host_key()
                await super().apply([entry])
            else:
                await super().remove([entry])

    @staticmethod
    async def is_systems(entry: Entry) -> bool:
        return entry.keys[0] == kernel.MAIN and await host.services.known(UNIT)


def said(value: dict[str, Any]) -> list[str]:
    """What statements say, in sshd's words."""
    return [
        f"Port {value['port']}",
        *(f"ListenAddress {address}" for address in value.get("listen-address", [])),
        f"PasswordAuthentication {'yes' if value['password-authentication'] else 'no'}",
    ]


async def systems_own(value: dict[str, Any] | None) -> None:
    """The system's server: None is as it was. Sessions stay, whatever happens to it."""
    covered = Covered(DROP_IN)
    changed = covered.uncover() if value is None else covered.put(lines(HEAD, said(value)))
    if value is None and not changed:
        return
    if value is not None and not value["enabled"]:
        await run(["systemctl", "stop", UNIT])
        return
    await run([SSHD, "-t"])
    # Starts it if it was switched off here; a running one that has nothing new is left alone.
    await run(["systemctl", "start", UNIT])
    if changed:
        await host.services.again(UNIT)


async def host_key() -> None:
    """The machine's own key, as sluice-ssh-key.service makes it."""
    if not HOST_KEY.exists():
        await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(HOST_KEY)])


async def state() -> dict[str, Any]:
    found = []
    for vrf in sorted(kernel.vrfs):
        running = (await host.services.status(f"ssh-{vrf}")).running
        if vrf == kernel.MAIN and await host.services.known(UNIT):
            running = await host.services.active(UNIT)
        found.append({"name": vrf, "sluice-ssh:ssh-server-state": {"running": running}})
    return {"sluice-vrf:vrf": found}


FEATURE = Feature(
    name="ssh",
    models=(Path(__file__).parent / "sluice-ssh.yang",),
    appliers=(Server(),),
    states=(State("/sluice-vrf:vrf/sluice-ssh:ssh-server-state", state),),
)
