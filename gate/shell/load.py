# SPDX-License-Identifier: BSD-3-Clause
"""Configuration from a file: commands as `show config` writes them, JSON (RFC 7951) or XML. Mistakes name lines."""

from pathlib import Path

from lxml import etree
from sluice.mgmt.yang import Format, Tree, YangError
from sluice.shell import tree
from sluice.shell.place import NETCONF, Place
from sluice.shell.words import Line, Refused
from sluice.shell.world import ShellError, World

LARGEST = 256 << 20


class FileError(ShellError):
    """What's wrong in which line of a file; `start` and `end` are columns, if known."""

    def __init__(
        self,
        path: Path,
        number: int,
        text: str,
        *,
        line: str = "",
        start: int = 0,
        end: int = 0,
        hint: str = "",
    ) -> None:
        where = f"{path}, line {number}" if number else str(path)
        super().__init__(f"{where}: {text}", hint)
        self.number, self.line, self.start, self.end = number, line, start, end


def read(world: World, path: Path) -> bytes:
    """A file's configuration as XML."""
    try:
        if path.stat().st_size > LARGEST:
            raise ShellError(f"{path} is larger than {LARGEST >> 20} MiB")
        text = path.read_text()
    except OSError as error:
        raise ShellError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ShellError(f"{path} isn't text") from None
    stripped = text.lstrip()
    if stripped.startswith("<"):
        return _xml(world, path, text)
    if stripped.startswith("{"):
        return _data(world, path, text, Format.JSON).print(Format.XML).encode()
    return commands(world, path, text).print(Format.XML).encode()


def _data(world: World, path: Path, text: str | bytes, form: Format) -> Tree:
    try:
        return world.schema.parse(text, form)
    except YangError as error:
        first = error.problems[0]
        where = world.where(first.path) if first.path else ""
        raise FileError(
            path, first.line, f"{where}: {first.text}" if where else first.text
        ) from None


def _xml(world: World, path: Path, text: str) -> bytes:
    try:
        root = etree.fromstring(
            text.encode(), etree.XMLParser(huge_tree=True, resolve_entities=False, no_network=True)
        )
    except etree.XMLSyntaxError as error:
        raise FileError(path, error.lineno or 0, error.msg or "not XML") from None
    if etree.QName(root).localname in ("config", "data"):
        parts = [child for child in root if isinstance(child.tag, str)]
    else:
        parts = [root]
    for part in parts:
        # Each by itself, with the line it begins in; operations in attributes are for edit-config to judge.
        if any("operation" in key for element in part.iter() for key in element.attrib):
            continue
        try:
            world.schema.parse(etree.tostring(part), Format.XML)
        except YangError as error:
            first = error.problems[0]
            number = (part.sourceline or 1) + max(first.line, 1) - 1
            where = world.where(first.path) if first.path else ""
            raise FileError(
                path, number, f"{where}: {first.text}" if where else first.text
            ) from None
    return b"".join(etree.tostring(part, with_tail=False) for part in parts)


def commands(world: World, path: Path, text: str) -> Tree:
    """Lines as `show config` writes them: blocks, or one value a line. `set` may stand before each."""
    result = world.schema.empty()
    place = Place()
    blocks: list[tuple[Place, int]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        try:
            line = Line.of(raw)
            place = _line(world, line, place, blocks, number, result)
        except Refused as error:
            raise FileError(
                path,
                number,
                error.text,
                line=raw,
                start=error.start,
                end=error.end,
                hint=error.hint,
            ) from None
        except YangError as error:
            raise FileError(path, number, error.problems[0].text, line=raw) from None
    if blocks:
        raise FileError(path, blocks[-1][1], "this { has no }")
    return result


def _line(
    world: World,
    line: Line,
    place: Place,
    blocks: list[tuple[Place, int]],
    number: int,
    result: Tree,
) -> Place:
    token = line.peek()
    if token is None:
        return place
    if token.text == "}" and not token.quoted:
        line.at += 1
        line.done()
        if not blocks:
            raise line.refuse("there's no { that this could close", token)
        return blocks.pop()[0]
    if token.text == "set" and not token.quoted:
        line.at += 1
    found = tree.statement(world, line, place)
    for node, value in found.sets:
        result.new(node.path(), value)
    token = line.peek()
    if token is not None and token.text == "{":
        line.at += 1
        line.done()
        blocks.append((place, number))
        return found.place
    line.done()
    return place


def replace(world: World, config: bytes) -> None:
    """Put a configuration in place of the candidate."""
    world.flush()
    world.rpc(
        b"<copy-config><target><candidate/></target><source>"
        b'<config xmlns:nc="%b">%b</config></source></copy-config>' % (NETCONF.encode(), config)
    )
    world.place = Place()
    world.blocks.clear()
    world.touched()
