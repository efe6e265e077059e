# SPDX-License-Identifier: BSD-3-Clause
"""What fpmd knows of objects that aren't in the tables: asked over FPC, for shared memory has no
trace of them.
"""

from sluice.cli.command import Row
from sluice.cli.error import CliError
from sluice.cli.view import View
from sluice.fpc import Connection, FpcError, Role, State, decode_key
from sluice.fpc.objects import BY_ID


def refused_objects(view: View) -> list[Row]:
    """Refused and parked objects of all features."""
    if not view.run_dir.exists():
        view.require(view.config_path, "fpmd")
    try:
        with Connection(view.run_dir / "fpc.sock", Role.VIEWER, name="fp-cli") as fpmd:
            stored = fpmd.dump()
    except FpcError as error:
        raise CliError(str(error), hint="is fpmd running? See `fp-cli status`") from None
    return [
        {
            "feature": BY_ID[item.feature].name,
            "object": words(decode_key(item.feature, item.body)),
            "state": str(item.state),
            "errno": item.error.errno if item.error else 0,
            "field": item.error.field if item.error else "",
            "reason": item.error.text if item.error else "waits for what it depends on",
        }
        for item in stored
        if item.state != State.APPLIED
    ]


def words(fields: dict[str, object]) -> str:
    """Fields of a key on one line, without those that say nothing."""
    return " ".join(
        f"{name} {value}" for name, value in fields.items() if value not in ("", [], None)
    )
