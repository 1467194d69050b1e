"""What the runner's unit tests share."""

from tests.support.evaluations import quick_and_quiet, workspace

__all__ = ["quick_and_quiet", "workspace"]
