"""Tools for ProactiveAI, in Python: async functions that its model calls."""

from .context import Context, Variable, Variables
from .errors import (
    Code,
    DeclarationError,
    InvalidVariable,
    NoRoom,
    NotFound,
    NotPermitted,
    Refused,
    SettingsError,
    ToolError,
    ValueProblem,
    VariableConflict,
    VariableError,
)
from .schema import Field
from .settings import Settings, settings_from
from .worker import Worker

__all__ = [
    "Code",
    "Context",
    "DeclarationError",
    "Field",
    "InvalidVariable",
    "NoRoom",
    "NotFound",
    "NotPermitted",
    "Refused",
    "Settings",
    "SettingsError",
    "ToolError",
    "ValueProblem",
    "Variable",
    "VariableConflict",
    "VariableError",
    "Variables",
    "Worker",
    "settings_from",
]
