"""The stack's settings: the only reader of `pulumi.Config`."""

from components.settings.load import load
from components.settings.model import Settings
from components.settings.problems import Problem, SettingsError

__all__ = ["Problem", "Settings", "SettingsError", "load"]
