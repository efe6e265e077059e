# SPDX-License-Identifier: BSD-3-Clause
"""The files that an FRR of its own needs, for the VRF it's in: `/etc/frr/<name>`."""

import os
import pwd
from pathlib import Path

CONFIGURATION = Path("/etc/frr")
SOCKETS = Path("/run/frr")
# zebra, mgmtd and staticd always run.
DAEMONS = ("bgpd", "ospfd", "ospf6d", "ripd", "ripngd", "bfdd")
MARK = "# Made by Sluice, and again at each start as long as this line is here."


def daemons_file(name: str, *, namespace: bool) -> str:
    """What frrinit.sh reads. `namespace`: it's to run in the network namespace of that name."""
    lines = [MARK, *(f"{daemon}=yes" for daemon in DAEMONS), "vtysh_enable=yes"]
    # Commands come over UNIX sockets; nobody needs their TCP ports.
    lines += [f'{daemon}_options="-P 0"' for daemon in ("mgmtd", "staticd", *DAEMONS)]
    lines.append('zebra_options="-P 0 -s 90000000"')
    if namespace:
        lines.append(f'watchfrr_options="--netns={name}"')
    return "\n".join(lines) + "\n"


def prepare(name: str, *, namespace: bool = True) -> None:
    """Make the files of an instance; those that somebody made or changed stay. Raises OSError, KeyError (no FRR)."""
    user = pwd.getpwnam("frr")
    # /run/frr is there already where systemd-tmpfiles works.
    folder = CONFIGURATION / name
    for path in (SOCKETS, folder):
        if not path.exists():
            path.mkdir(mode=0o755)
            os.chown(path, user.pw_uid, user.pw_gid)
    wanted = daemons_file(name, namespace=namespace)
    for path, text in (
        (folder / "daemons", wanted),
        (folder / "frr.conf", ""),
        (folder / "vtysh.conf", ""),
    ):
        if path.exists() and not (text and path.read_text().startswith(MARK)):
            continue
        path.write_text(text)
        path.chmod(0o640)
        os.chown(path, user.pw_uid, user.pw_gid)
