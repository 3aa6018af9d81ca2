"""What can go wrong, in words for a tool's author."""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """Why a call failed: a gRPC status code. The server treats each in its own way."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ToolError(Exception):
    """Raised by a tool to say why it has no result.

    The message is read by the model and by people: one sentence, no secrets; what is beyond 300
    characters is cut off.
    """

    def __init__(self, message: str, code: Code | int = Code.UNKNOWN) -> None:
        super().__init__(message)
        self.message = message
        self.code = Code(code)


class VariableError(ToolError):
    """A variable could not be read or written. Uncaught, it is the call's failure."""


class NotFound(VariableError):
    """There is no such variable."""


class VariableConflict(VariableError):
    """The variable has another version than expected: read it again, then decide."""

    def __init__(self, message: str, code: Code | int, version: int | None = None) -> None:
        super().__init__(message, code)
        self.version = version
        """The version that it has; None if the server did not say, or there is no variable."""


class InvalidVariable(VariableError):
    """A name, value or time to live that the server does not take."""


class NoRoom(VariableError):
    """The session has too many variables (64), or this one is too large (64 KiB)."""


class NotPermitted(VariableError):
    """The call has ended, so that its session's variables are out of reach."""


class DeclarationError(TypeError):
    """A tool that cannot be declared; raised where it is decorated."""


class ValueProblem(ValueError):
    """A value that cannot be sent, or that does not fit; says where in the value."""


class SettingsError(Exception):
    """A setting that makes no sense, or is missing."""


class Refused(Exception):
    """The server will not have this worker, so that trying again cannot help."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
