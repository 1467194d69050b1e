"""Fixtures of the workflows' tests that need more than small tools."""

from tests.integration.small.ci.conftest import world

__all__ = ["world"]
