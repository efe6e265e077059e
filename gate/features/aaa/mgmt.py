# SPDX-License-Identifier: BSD-3-Clause
"""Users of Linux: made by shadow's programs, known again by a file of ours.

STATE/users.json        who was made or taken over, and what he was before; written before anything is done
RUN/services/keys/NAME  SSH keys, which sshd reads besides ~/.ssh/authorized_keys
"""

import base64
import grp
import json
import pwd
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt.error import ConfigError, at
from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch
from sluice.mgmt.host import host, read, remove, run, write

ROLES = ("guest", "operator", "admin")
# Of the appliance's programs: what one who looks may read.
MORE_GROUPS = ("sluice", "systemd-journal")
CLI, BASH = "/usr/bin/sluice", "/bin/bash"
FIRST_UID, LAST_UID = 1000, 59999
SHADOW, HOMES = Path("/etc/shadow"), Path("/home")
NO_PASSWORD = "*"
PATH = "/sluice-system:system/sluice-aaa:aaa"


class Users(Applier):
    """The container as a whole: who isn't in it any more must go even if nobody remembers a statement."""

    name: ClassVar[str] = "users"
    order: ClassVar[int] = 15
    watches = (Watch(PATH),)

    async def verify(self, entries: list[Entry]) -> None:
        for entry in entries:
            for user in users(entry.new):
                where = f"{PATH}/user[name='{user['name']}']"
                there = account(user["name"])
                if there and not FIRST_UID <= there.pw_uid <= LAST_UID:
                    raise ConfigError(
                        f"{user['name']} is a system account", tag="invalid-value", path=where
                    )
                for key in user.get("ssh-key", []):
                    check_key(key, where)

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            wanted = {user["name"]: user for user in users(entry.new)}
            known = remembered()
            for name in known.keys() - wanted.keys():
                await forget(name, known)
            for user in wanted.values():
                try:
                    await self.make(user, known)
                except ConfigError as error:
                    raise at(error, f"{PATH}/user[name='{user['name']}']") from error

    async def remove(self, entries: list[Entry]) -> None:
        known = remembered()
        for name in list(known):
            await forget(name, known)

    async def make(self, user: dict[str, Any], known: dict[str, Any]) -> None:
        """Make or change a user; nothing is run if he's as he should be."""
        name, group = user["name"], f"sluice-{user['role']}"
        shell = CLI if user["shell"] == "cli" and Path(CLI).exists() else BASH
        for role in ROLES:
            await ensure_group(f"sluice-{role}")
        there = account(name)
        if name not in known:
            before: dict[str, Any] | None = None
            if there is not None:
                before = {
                    "groups": sorted(groups_of(name)),
                    "shell": there.pw_shell,
                    "text": there.pw_gecos,
                    "hash": password_of(name),
                }
            known[name] = before
            remember(known)
        if there is None:
            await run(["useradd", *self.home(name), "--shell", shell, "--user-group", name])
            await set_password(name, NO_PASSWORD)
            there = account(name)
            if there is None:
                raise ConfigError(f"useradd hasn't made {name}")
        wanted = {group} | {more for more in MORE_GROUPS if group_there(more)}
        was: dict[str, Any] | None = known[name]
        groups = {one for one in groups_of(name) if not one.startswith("sluice-")} | wanted
        if was is not None:
            groups |= {one for one in was["groups"] if not one.startswith("sluice-")}
        options: list[str] = []
        if groups != groups_of(name):
            options += ["--groups", ",".join(sorted(groups))]
        if there.pw_shell != shell:
            options += ["--shell", shell]
        text = user.get("description", was["text"] if was else "")
        if there.pw_gecos != text:
            options += ["--comment", text]
        if options:
            await run(["usermod", *options, name])
        password = user.get("password-hash") or (was["hash"] if was else NO_PASSWORD)
        if password_of(name) != password:
            await set_password(name, password)
        keys = user.get("ssh-key", [])
        if keys:
            write(key_file(name), "".join(f"{key}\n" for key in keys))
        else:
            remove(key_file(name))

    @staticmethod
    def home(name: str) -> list[str]:
        """Options of useradd. A number that still owns a home is its owner's: who comes back gets his own again, and
        nobody gets another's files.
        """
        homes = {path.name: path.stat().st_uid for path in HOMES.iterdir()}
        taken = {one.pw_uid for one in pwd.getpwall()}
        number = homes.get(name, 0)
        if not FIRST_UID <= number <= LAST_UID or number in taken:
            taken |= set(homes.values())
            number = next(n for n in range(FIRST_UID, LAST_UID + 1) if n not in taken)
        return ["--create-home", "--home-dir", str(HOMES / name), "--uid", str(number)]


def users(value: dict[str, Any] | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (value or {}).get("user", [])
    return found


def check_key(key: str, path: str) -> None:
    """Raises unless a key's data is of the kind that it says."""
    kind, data = key.split(" ")[:2]
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError:
        raw = b""
    length = int.from_bytes(raw[:4])
    if len(raw) < 4 + length + 4 or raw[4 : 4 + length] != kind.encode():
        raise ConfigError(
            f"the SSH key {key[:32]}... is damaged: its data aren't a key of {kind}",
            tag="invalid-value",
            path=f"{path}/ssh-key",
        )


async def forget(name: str, known: dict[str, Any]) -> None:
    """Undo `make`. A home stays: it holds what isn't ours."""
    before = known[name]
    remove(key_file(name))
    there = account(name)
    if there is not None and before is None:
        # Even if he's logged in. His home isn't touched by that.
        await run(["userdel", "--force", name])
    elif there is not None:
        shell, text = before["shell"], before["text"]
        groups = ",".join(before["groups"])
        await run(["usermod", "--shell", shell, "--comment", text, "--groups", groups, name])
        if password_of(name) != before["hash"]:
            await set_password(name, before["hash"])
    del known[name]
    remember(known)


def remembered() -> dict[str, Any]:
    text = read(host.state / "users.json")
    known: dict[str, Any] = json.loads(text) if text else {}
    return known


def remember(known: dict[str, Any]) -> None:
    write(host.state / "users.json", json.dumps(known), mode=0o600)


def key_file(name: str) -> Path:
    return host.files / "keys" / name


async def set_password(name: str, encrypted: str) -> None:
    """By standard input: arguments are for all to read."""
    await run(["chpasswd", "--encrypted"], text=f"{name}:{encrypted}\n")


async def ensure_group(name: str) -> None:
    if not group_there(name):
        await run(["groupadd", "--system", name])


def account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def group_there(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def groups_of(name: str) -> set[str]:
    """The supplementary ones."""
    return {group.gr_name for group in grp.getgrall() if name in group.gr_mem}


def password_of(name: str) -> str:
    for line in (read(SHADOW) or "").splitlines():
        who, _, rest = line.partition(":")
        if who == name:
            return rest.partition(":")[0]
    return ""


def state() -> dict[str, Any]:
    known = remembered()
    found = []
    for one in pwd.getpwall():
        roles = [role for role in ROLES if f"sluice-{role}" in groups_of(one.pw_name)]
        if roles:
            found.append(
                {
                    "name": one.pw_name,
                    "uid": one.pw_uid,
                    "role": roles[-1],
                    "shell": one.pw_shell,
                    "configured": one.pw_name in known,
                }
            )
    return {"sluice-system:system": {"sluice-aaa:aaa": {"state": {"user": found}}}}


def denied(role: str, *rules: tuple[str, str]) -> dict[str, Any]:
    """Rules that come before the general ones of access control."""
    return {
        "name": f"{role}-users",
        "group": [f"sluice-{role}"],
        "rule": [
            {
                "name": f"{role}-users-{number}",
                "module-name": "*",
                "path": path,
                "access-operations": operations,
                "action": "deny",
            }
            for number, (path, operations) in enumerate(rules, 1)
        ],
    }


HASH = f"{PATH}/user/password-hash"
FEATURE = Feature(
    name="aaa",
    models=(Path(__file__).parent / "sluice-aaa.yang",),
    appliers=(Users(),),
    states=(State(f"{PATH}/state", state),),
    factory={
        "ietf-netconf-acm:nacm": {
            "rule-list": [
                denied("operator", (HASH, "read"), (PATH, "create update delete")),
                denied("guest", (HASH, "read")),
            ]
        }
    },
)
