"""The one kind of error that users of the lab see: a line that names the cause, and a hint."""


class LabError(Exception):
    """Something that the user can act on; printed as `error: ...` and `hint: ...`, never as a traceback."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
