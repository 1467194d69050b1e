"""The tools' cache: a tool is whole or not there."""

import subprocess
from pathlib import Path

import pytest

from sandbox import tools
from sandbox.layout import Layout
from sandbox.shell import SandboxError

GOOD = 'package main\n\nfunc main() { println("hello") }\n'


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """An empty cache, and a folder `tools` with one module without dependencies."""
    source = tmp_path / "tools" / "hello"
    source.mkdir(parents=True)
    (source / "go.mod").write_text("module hello\n\ngo 1.24\n")
    (source / "main.go").write_text(GOOD)
    (source / "build.toml").write_text('links = ["greet"]\n')
    monkeypatch.setattr(tools, "TOOLS", tmp_path / "tools")
    layout = Layout(cache=tmp_path / "cache", name="test")
    layout.bin.mkdir(parents=True)
    return layout


def test_a_tool_is_linked_by_each_of_its_names(layout: Layout) -> None:
    tools.build("hello", layout)
    for name in ("hello", "greet"):
        done = subprocess.run([str(layout.bin / name)], capture_output=True, text=True, check=True)
        assert done.stderr == "hello\n"


def test_a_second_build_compiles_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tools.build("hello", layout)
    monkeypatch.setenv("PATH", "")  # no go to compile with
    assert tools.build("hello", layout) == folder


def test_a_change_of_any_file_is_another_tool(layout: Layout) -> None:
    first = tools.build("hello", layout)
    (tools.TOOLS / "hello/main.go").write_text(GOOD.replace("hello", "goodbye"))
    assert tools.build("hello", layout) != first
    done = subprocess.run([str(layout.bin / "greet")], capture_output=True, text=True, check=True)
    assert done.stderr == "goodbye\n"


def test_a_broken_build_names_the_tool_and_leaves_nothing(layout: Layout) -> None:
    (tools.TOOLS / "hello/main.go").write_text("package main\n\nfunc main() { nonsense }\n")
    with pytest.raises(SandboxError, match=r"tools/hello could not be built[\s\S]*nonsense"):
        tools.build("hello", layout)
    assert list((layout.cache / "tools").iterdir()) == []
    assert list(layout.bin.iterdir()) == []


def test_what_a_killed_build_left_is_swept_away(layout: Layout) -> None:
    left = layout.cache / "tools" / ".unfinished-999999999-x"
    left.mkdir(parents=True)
    folder = tools.build("hello", layout)
    assert list(folder.parent.iterdir()) == [folder]


def test_every_tool_is_pinned_and_locked() -> None:
    for module in tools.TOOLS.glob("*/go.mod"):
        requires = [
            line for line in module.read_text().splitlines() if line.strip().startswith(("require", "\tgithub"))
        ]
        assert not requires or (module.parent / "go.sum").exists(), module
