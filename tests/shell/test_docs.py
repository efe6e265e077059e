"""docs/ says what the program does."""

from pathlib import Path

import pytest
from sluice.shell import reference

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return reference.documents()


@pytest.mark.parametrize("name", ["commands.md", "models.md", "sluice.1"])
def test_the_references_are_up_to_date(made: dict[str, str], name: str) -> None:
    assert (DOCS / name).read_text() == made[name], "run `make docs`"


def test_every_command_and_every_node_is_in_them(made: dict[str, str]) -> None:
    for command in reference.commands():
        assert f"\n## {command.name}\n" in made["commands.md"]
        assert command.usage, command.name
    assert (
        "`vrf NAME interface physical NAME mtu` | a number, 68 to 65535 (bytes)"
        in made["models.md"]
    )
