# SPDX-License-Identifier: BSD-3-Clause
"""Names: systemd-resolved's servers or /etc/resolv.conf, and dnsmasq as proxy."""

from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt import kernel
from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch
from sluice.mgmt.host import Covered, host, lines, read, remove, write
from sluice.mgmt.service import DaemonApplier, Service, pid_file

RESOLVED = "systemd-resolved.service"
DROP_IN = Path("/run/systemd/resolved.conf.d/50-sluice.conf")
RESOLV_CONF = Path("/etc/resolv.conf")
HEAD = "# Made by yamsd from its configuration; a change here is lost."
DNSMASQ = "/usr/sbin/dnsmasq"
# CAP_NET_ADMIN CAP_NET_RAW: dnsmasq looks at interfaces as they come and go, and binds sockets to them.
# CAP_NET_BIND_SERVICE: port 53. CAP_SETUID CAP_SETGID: it becomes the user dnsmasq.
SANDBOX = (
    "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID",
    "NoNewPrivileges=yes",
    "ProtectSystem=full",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6",
)


class Resolver(Applier):
    name: ClassVar[str] = "name servers"
    order: ClassVar[int] = 40
    watches = (Watch("/sluice-system:system/sluice-dns:dns"),)

    async def remove(self, entries: list[Entry]) -> None:
        await self.set({})

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            await self.set(entry.new or {})

    @staticmethod
    async def set(value: dict[str, Any]) -> None:
        servers, search = value.get("server", []), value.get("search", [])
        if await host.services.known(RESOLVED):
            if servers:
                text = lines(
                    HEAD,
                    "[Resolve]",
                    f"DNS={' '.join(servers)}",
                    *([f"Domains={' '.join(search)}"] if search else []),
                )
                changed = write(DROP_IN, text)
            else:
                changed = remove(DROP_IN)
            if changed:
                await host.services.again(RESOLVED)
        elif servers:
            found = [f"nameserver {server}" for server in servers]
            if search:
                found.append(f"search {' '.join(search)}")
            Covered(RESOLV_CONF).put(lines(HEAD, found))
        else:
            Covered(RESOLV_CONF).uncover()


class Proxy(DaemonApplier):
    name: ClassVar[str] = "DNS proxy"
    watches = (Watch("/sluice-vrf:vrf/sluice-dns:dns-proxy"),)

    def service_name(self, entry: Entry) -> str:
        return f"dns-proxy-{entry.keys[0]}"

    def service(self, entry: Entry, value: dict[str, Any]) -> Service:
        (vrf,) = entry.keys
        name = self.service_name(entry)
        text = [
            HEAD,
            "port=53",
            "bind-dynamic",
            f"cache-size={value['cache-size']}",
            *(f"interface={interface}" for interface in value["interface"]),
            "no-hosts",
            "domain-needed",
            "bogus-priv",
            *(f"server={server}" for server in value.get("server", [])),
            *(
                f"host-record={one['name']},{','.join(one['address'])}"
                for one in value.get("host", [])
            ),
        ]
        if value.get("server") or vrf != kernel.MAIN:
            text.append("no-resolv")
        return Service(
            name=name,
            text=f"DNS proxy of VRF {vrf}",
            command=(
                *(DNSMASQ, "--keep-in-foreground", "--log-facility=-", "--user=dnsmasq"),
                f"--conf-file={host.files / name}.conf",
                f"--pid-file={pid_file(name)}",
            ),
            vrf=vrf,
            files={f"{name}.conf": lines(text)},
            sandbox=SANDBOX,
        )


def resolver_state() -> dict[str, Any]:
    found: dict[str, list[str]] = {"server": [], "search": []}
    for line in (read(RESOLV_CONF) or "").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            found["server"].append(words[1])
        elif words and words[0] == "search":
            found["search"] = [word for word in words[1:] if word != "."]
    return {"sluice-system:system": {"sluice-dns:dns": {"state": found}}}


async def proxy_state() -> dict[str, Any]:
    return {
        "sluice-vrf:vrf": [
            {
                "name": vrf,
                "sluice-dns:dns-proxy-state": {
                    "running": (await host.services.status(f"dns-proxy-{vrf}")).running
                },
            }
            for vrf in sorted(kernel.vrfs)
        ]
    }


FEATURE = Feature(
    name="dns",
    models=(Path(__file__).parent / "sluice-dns.yang",),
    appliers=(Resolver(), Proxy()),
    states=(
        State("/sluice-system:system/sluice-dns:dns/state", resolver_state),
        State("/sluice-vrf:vrf/sluice-dns:dns-proxy-state", proxy_state),
    ),
)
