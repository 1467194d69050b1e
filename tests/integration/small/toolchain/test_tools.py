"""The tools' cache: a tool is whole or not there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.serving import Answer, answering
from workbench.paths import REPOSITORY, Paths
from workbench.shell import WorkbenchError, wait_for
from workbench.toolchain import progress, tools, whole

GOOD = 'package main\n\nfunc main() { println("hello") }\n'


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """An empty cache, and a folder `tools` with one module without dependencies."""
    source = tmp_path / "tools" / "hello"
    source.mkdir(parents=True)
    (source / "go.mod").write_text("module hello\n\ngo 1.24\n")
    (source / "main.go").write_text(GOOD)
    (source / "build.toml").write_text('links = ["greet"]\n')
    monkeypatch.setattr(tools, "TOOLS", tmp_path / "tools")
    paths = Paths(cache=tmp_path / "cache", name="test")
    paths.bin.mkdir(parents=True)
    return paths


def test_a_tool_is_linked_by_each_of_its_names(paths: Paths) -> None:
    tools.build("hello", paths)
    for name in ("hello", "greet"):
        done = subprocess.run([str(paths.bin / name)], capture_output=True, text=True, check=True)
        assert done.stderr == "hello\n"


def test_a_second_build_compiles_nothing(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tools.build("hello", paths)
    monkeypatch.setenv("PATH", "")  # no go to compile with
    assert tools.build("hello", paths) == folder


def test_make_up_builds_no_tool_of_tests_and_linters(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    checker = tools.TOOLS / "checker"
    checker.mkdir()
    (checker / "go.mod").write_text("module checker\n\ngo 1.24\n")
    (checker / "main.go").write_text(GOOD)
    monkeypatch.setattr(tools, "NOT_OF_UP", ("checker",))
    monkeypatch.setattr(tools, "unpack_debian", lambda paths: None)
    tools.build_for_up(paths)
    assert tools.complete(paths)
    assert not (paths.bin / "checker").exists()
    tools.build_all(paths)
    assert (paths.bin / "checker").exists()


def test_the_time_left_is_told_by_the_usual_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "SHARES", {"large": 30, "middle": 20})
    told = progress.BuildProgress(["large", "middle", "small"])
    now[0] = 600.0
    assert told.built("middle") == "; 2 tools left, some 16 min"
    now[0] = 1500.0
    assert told.built("large") == ""  # half a minute
    assert told.built("small") == ""


def test_a_change_of_any_file_is_another_tool(paths: Paths) -> None:
    first = tools.build("hello", paths)
    (tools.TOOLS / "hello/main.go").write_text(GOOD.replace("hello", "goodbye"))
    assert tools.build("hello", paths) != first
    done = subprocess.run([str(paths.bin / "greet")], capture_output=True, text=True, check=True)
    assert done.stderr == "goodbye\n"


def test_a_broken_build_names_the_tool_and_leaves_nothing(paths: Paths) -> None:
    (tools.TOOLS / "hello/main.go").write_text("package main\n\nfunc main() { nonsense }\n")
    with pytest.raises(WorkbenchError, match=r"the tool hello could not be built[\s\S]*nonsense"):
        tools.build("hello", paths)
    assert list((paths.cache / "tools").iterdir()) == []
    assert list(paths.bin.iterdir()) == []


@pytest.mark.skipif(not shutil.which("setpriv"), reason="only Linux ends a process with its parent")
def test_a_build_ends_with_who_began_it(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "go").write_text(
        f"#!/bin/sh\necho $$ >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 300\n"
    )
    (tmp_path / "go").chmod(0o755)
    script = "import sys; from pathlib import Path\n"
    script += "from workbench.paths import Paths; from workbench.toolchain import tools\n"
    script += "tools.TOOLS = Path(sys.argv[1]); tools.build('hello', Paths(Path(sys.argv[2]), 'test'))"
    words = [sys.executable, "-c", script, str(tools.TOOLS), str(paths.cache)]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_for("the build", (tmp_path / "pid").exists, seconds=60)
        process.kill()
    pid = (tmp_path / "pid").read_text().strip()
    wait_for("the build's end", lambda: not Path(f"/proc/{pid}").exists(), seconds=60)


def test_what_a_killed_build_left_is_swept_away(paths: Paths) -> None:
    left = paths.cache / "tools" / ".unfinished-999999999-x"
    left.mkdir(parents=True)
    folder = tools.build("hello", paths)
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("answers", [True, False])
def test_a_refused_download_names_tool_address_and_cure(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    source = tools.TOOLS / "hello"
    (source / "main.go").write_text('package main\n\nimport _ "example.com/lib"\n\nfunc main() {}\n')
    (source / "go.mod").write_text("module hello\n\ngo 1.24\n\nrequire example.com/lib v1.0.0\n")
    lock = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    (source / "go.sum").write_text(f"example.com/lib v1.0.0 {lock}example.com/lib v1.0.0/go.mod {lock}")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    with answering(lambda _: Answer(403)) as address:
        server = address if answers else f"127.0.0.1:{free_port()}"
        monkeypatch.setenv("GOPROXY", f"http://{server}")
        with pytest.raises(WorkbenchError) as error:
            tools.build("hello", paths)
    first = str(error.value).split("\n")[0]
    assert first.startswith(f"the tool hello could not be built: http://{server}/example.com/lib/@v/v1.0.0")
    assert first.endswith("403 Forbidden" if answers else "connect: connection refused")
    assert "Set GOPROXY to a Go module proxy that this machine may use" in str(error.value)
    assert list((paths.cache / "tools").iterdir()) == []


@pytest.mark.parametrize("length", [0, 40, 100_000])
def test_a_program_cut_short_in_the_cache_is_named_and_built_anew(
    length: int, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tools.build("hello", paths) / "hello"
    capsys.readouterr()
    with program.open("r+b") as file:
        file.truncate(length)
    tools.build("hello", paths)
    assert f"{program} in the cache is damaged" in capsys.readouterr().out
    assert subprocess.run([str(paths.bin / "greet")], capture_output=True, text=True, check=True).stderr == "hello\n"


def test_content_that_a_power_failure_lost_is_found_when_the_machine_has_started_anew(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tools.build("hello", paths) / "hello"
    with program.open("r+b") as file:
        file.seek(1000)
        file.write(bytes(500))
    (tmp_path / "boot_id").write_text("another")
    monkeypatch.setattr(whole, "BOOT_ID", tmp_path / "boot_id")
    for message in (f"{program} in the cache is damaged", ""):
        capsys.readouterr()
        tools.build("hello", paths)
        assert message in capsys.readouterr().out
    assert subprocess.run([str(paths.bin / "greet")], capture_output=True, text=True, check=True).stderr == "hello\n"


def test_a_tool_of_an_older_version_of_the_project_is_not_built_again(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tools.build("hello", paths)
    tools._sums(folder).unlink()
    monkeypatch.setenv("PATH", "")  # no go to compile with
    assert tools.build("hello", paths) == folder
    assert tools._sums(folder).exists()
