"""What is built in steps and taken apart in the reverse order."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Self


class Stacked(ABC):
    """A context manager: entering calls `build`, leaving undoes what that has put on `stack`. So does a failure of
    `build` half-way.
    """

    def __init__(self) -> None:
        self.stack = ExitStack()

    @abstractmethod
    def build(self) -> None:
        """Make everything; what is to be undone goes on the stack as soon as it's there."""

    def __enter__(self) -> Self:
        try:
            self.build()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()
