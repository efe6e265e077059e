"""Keywords: bring labs up, configure them, keep what explains failures."""

import importlib
import shutil
from typing import Any

from lab.demo import settle
from lab.errors import LabError
from lab.keywords.session import SESSION, suite_folder

__all__ = [
    "appliance_is_booted",
    "appliance_is_booted_by_bios",
    "appliance_is_configured",
    "appliance_is_up",
    "keep_what_explains_failures",
    "save_the_booted_appliance",
]


def appliance_is_booted(topology: str) -> None:
    """Boot the image anew, between the hosts of a topology."""
    SESSION.boot(topology)
    SESSION.start_captures(suite_folder(suite()))


def appliance_is_booted_by_bios(topology: str) -> None:
    """The same without UEFI: the BIOS finds grub on the disk."""
    SESSION.boot(topology, bios=True)
    SESSION.start_captures(suite_folder(suite()))


def appliance_is_up(topology: str) -> None:
    """Have the appliance as it was after its boot."""
    SESSION.bring_up(topology)
    SESSION.start_captures(suite_folder(suite()))


def save_the_booted_appliance() -> None:
    """Keep the appliance's state; the suites that follow go back to it."""
    SESSION.stop_captures()
    if SESSION.lab is not None:
        SESSION.save()


def appliance_is_configured() -> None:
    """Configure the appliance's ports with iproute2, and wait until the fast path forwards."""
    appliance = SESSION.appliance
    appliance.wait_for_ports(timeout=60)
    appliance.configure()
    settle(appliance, SESSION.host("h1"), SESSION.host("h2"))


def keep_what_explains_failures() -> None:
    """For a suite's teardown: journals, tables, captures and console if a test failed."""
    SESSION.stop_captures()
    folder = suite_folder(suite())
    if variable("SUITE STATUS") == "PASS":
        shutil.rmtree(folder, ignore_errors=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    lab = SESSION.lab
    if lab is None:
        return
    if lab.console_log.exists():
        shutil.copyfile(lab.console_log, folder / "console.log")
    try:
        lab.appliance.collect(folder)
    except LabError as error:
        (folder / "appliance.txt").write_text(f"nothing could be collected: {error.message}\n")


def suite() -> str:
    return variable("SUITE SOURCE")


def variable(name: str) -> str:
    """A variable of the suite that is running."""
    built_in: Any = importlib.import_module("robot.libraries.BuiltIn").BuiltIn()
    return str(built_in.get_variable_value(f"${{{name}}}"))
