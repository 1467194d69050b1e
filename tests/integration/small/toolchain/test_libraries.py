"""The tools share what most of them compile."""

import pytest

from workbench.toolchain import libraries


def test_every_tool_has_the_same_versions_of_shared_libraries() -> None:
    rest = libraries.wanted()
    assert not rest, "python -m workbench.toolchain.libraries makes them agree"


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("v1.9.1", "v1.10.0"),
        ("v1.10.0-rc.2", "v1.10.0"),
        ("v1.10.0-rc.2", "v1.10.0-rc.10"),
        ("v1.6.0", "v1.6.1-0.20241114170450-2d3c2a9cc518"),
        ("v0.0.0-20250910181357-589584f1c912", "v0.0.0-20260721132016-d427ff9ee9ad"),
        ("v26.1.4+incompatible", "v27.0.0+incompatible"),
        ("", "go1.27.3"),
    ],
)
def test_versions_are_ordered_as_go_orders_them(lower: str, higher: str) -> None:
    assert max(lower, higher, key=libraries._order) == max(higher, lower, key=libraries._order) == higher
