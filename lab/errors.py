"""The one kind of error that users of the lab see: a line that names the cause, and a hint."""


class LabError(Exception):
    """Something the user can act on: shown as `error: ...` and `hint: ...`, no traceback."""

    # In Robot Framework's logs the message is enough.
    ROBOT_SUPPRESS_NAME = True

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
