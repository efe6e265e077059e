# SPDX-License-Identifier: BSD-3-Clause
"""The server's models: got by get-schema (RFC 6022) as its YANG library (RFC 8525) lists them, kept for the next time.

A copy is named by the server's address and its content-id, so another server can't choose what this one's models are.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sluice.mgmt.yang import Schema, YangError
from sluice.shell.client import Client, Offline

LIBRARY = "urn:ietf:params:xml:ns:yang:ietf-yang-library"
MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
LIST = "modules.json"
KEPT = 8
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_REVISION = re.compile(r"(\d{4}-\d{2}-\d{2})?")


@dataclass
class Module:
    """A module of the server's; one that isn't implemented is only imported by others."""

    name: str
    revision: str
    implemented: bool
    features: list[str] = field(default_factory=list)

    @property
    def file(self) -> str:
        return f"{self.name}@{self.revision}.yang" if self.revision else f"{self.name}.yang"


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice" / "models"


def content_id(client: Client) -> str:
    """What the server calls its set of models; empty if it doesn't say."""
    for text in client.capabilities:
        found = re.search(r":yang-library:1\.[01]\?.*(?:content-id|module-set-id)=([^&]+)", text)
        if found:
            return found[1]
    return ""


def load(client: Client, cache: Path | None = None) -> tuple[Schema, list[str]]:
    """The server's models, and a line for each that doesn't load here."""
    name = content_id(client)
    folder = None
    with contextlib.suppress(OSError, RuntimeError):
        folder = cache or cache_folder()
    if name and folder is not None:
        key = hashlib.sha256(f"{client.target}\n{name}".encode()).hexdigest()[:32]
        kept = folder / key
        with contextlib.suppress(OSError, ValueError, TypeError):
            return build(kept, [Module(**m) for m in json.loads((kept / LIST).read_text())])
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
                modules = fetch(client, Path(new))
                found = build(Path(new), modules)
                Path(new, LIST).write_text(json.dumps([asdict(module) for module in modules]))
                with contextlib.suppress(OSError):
                    shutil.copytree(new, kept, dirs_exist_ok=True)
                forget(folder)
                return found
    with tempfile.TemporaryDirectory(prefix="sluice-models-") as new:
        return build(Path(new), fetch(client, Path(new)))


def forget(folder: Path) -> None:
    """Remove the oldest copies."""
    found = sorted(
        (path for path in folder.iterdir() if not path.name.startswith(".")),
        key=lambda path: path.stat().st_mtime,
    )
    for path in found[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def fetch(client: Client, folder: Path) -> list[Module]:
    """Get all modules into a folder."""
    answer = client.rpc(f'<get><filter><yang-library xmlns="{LIBRARY}"/></filter></get>')
    modules = []
    for kind in ("module", "import-only-module"):
        for element in answer.iter(f"{{{LIBRARY}}}{kind}"):
            if element.getparent().tag != f"{{{LIBRARY}}}module-set":
                continue
            modules.append(_listed(element, implemented=kind == "module"))
    if not modules:
        raise Offline(
            f"{client.target} doesn't list its YANG models (RFC 8525)",
            "this user may not be allowed to read: see the groups sluice-admin, -operator, -guest",
        )
    for module in modules:
        request = (
            f'<get-schema xmlns="{MONITORING}"><identifier>{module.name}</identifier>'
            f"<version>{module.revision}</version><format>yang</format></get-schema>"
        )
        answer = client.rpc(request)
        (folder / module.file).write_text(answer.findtext(f"{{{MONITORING}}}data") or "")
    return modules


def _listed(element: Any, *, implemented: bool) -> Module:
    def text(name: str) -> str:
        return (element.findtext(f"{{{LIBRARY}}}{name}") or "").strip()

    name, revision = text("name"), text("revision")
    if not _NAME.fullmatch(name) or not _REVISION.fullmatch(revision):
        raise Offline(f"the server has a model with an impossible name: {name!r}", "mend it there")
    features = [(e.text or "").strip() for e in element.findall(f"{{{LIBRARY}}}feature")]
    return Module(name, revision, implemented, features)


def build(folder: Path, modules: list[Module]) -> tuple[Schema, list[str]]:
    """Load what's in a folder. A model that doesn't load is named, and the rest is used."""
    for module in modules:
        if not (folder / module.file).exists():
            raise FileNotFoundError(module.file)
    schema = Schema([folder])
    failed = []
    for module in modules:
        if not module.implemented:
            continue
        try:
            schema.load(module.name, module.features)
        except YangError as error:
            failed.append(f"the model {module.name} can't be used: {error}")
    return schema, failed
