# SPDX-License-Identifier: BSD-3-Clause
"""All commands: the shared ones, then each feature's."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sluice.cli.command import Command


def feature_modules() -> Iterator[tuple[str, ModuleType]]:
    """Name and cli module of each feature that has one."""
    for path in sorted((Path(__file__).parent.parent / "features").glob("*/cli.py")):
        yield path.parent.name, import_module(f"sluice.features.{path.parent.name}.cli")


def commands() -> dict[str, Command]:
    """Commands by name."""
    from sluice.cli import monitor, shared, stages, trace

    found = [*shared.COMMANDS, *monitor.COMMANDS, *trace.COMMANDS, *stages.COMMANDS]
    for _, module in feature_modules():
        found += module.COMMANDS
    return {command.name: command for command in found}
