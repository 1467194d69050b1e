"""Who may import whom.

`__main__` -> components -> monitoring -> vllm_eval.metrics, and the runner nothing of ours. Beside them the workbench:
sandbox -> cluster -> toolchain, none of which imports the program, which they run as any user would.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OURS = {"components", "monitoring", "vllm_eval", "workbench", "tests"}

# Files of components/ that are no component: several components may share them.
HELPERS = {"settings", "patches", "versions", "labels"}
# What only the program itself wires in.
WIRING = {"cluster", "network", "outputs", "preflight", "reruns", "image"}
# What the program takes from the runner, so that both judge an input alike.
FROM_RUNNER = {"vllm_eval.metrics", "vllm_eval.models", "vllm_eval.config"}


def imports(file: Path) -> Iterator[str]:
    """Yield every module that a file imports, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{each.name}" for each in node.names)


def ours(folder: str) -> Iterator[tuple[Path, str]]:
    """Yield file and import of our own code."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        for name in imports(file):
            if name.split(".")[0] in OURS:
                yield file.relative_to(ROOT), name


def components() -> set[str]:
    return {file.stem for file in (ROOT / "components").glob("*.py")} - HELPERS - WIRING - {"__init__"}


def test_the_lists_name_files_that_exist() -> None:
    files = {
        file.stem for file in (ROOT / "components").iterdir() if file.suffix == ".py" or (file / "load.py").exists()
    }
    assert files >= HELPERS | WIRING


def test_the_runner_imports_nothing_of_ours() -> None:
    wrong = [(file, name) for file, name in ours("eval/evalchemy/vllm_eval") if name.split(".")[0] != "vllm_eval"]
    assert wrong == []


def test_monitoring_knows_the_metric_contract_and_no_more() -> None:
    roots = ("monitoring", "vllm_eval.metrics")
    wrong = [(file, name) for file, name in ours("monitoring") if not name.startswith(roots)]
    assert wrong == []


def test_monitoring_and_runner_know_no_pulumi() -> None:
    for folder in ("monitoring", "eval/evalchemy/vllm_eval"):
        for file in (ROOT / folder).rglob("*.py"):
            assert not [each for each in imports(file) if each.startswith("pulumi")], file


def test_components_import_no_tooling_and_little_of_the_runner() -> None:
    for file, name in ours("components"):
        assert name.split(".")[0] not in {"workbench", "tests"}, (file, name)
        if name.startswith("vllm_eval"):
            assert ".".join(name.split(".")[:2]) in FROM_RUNNER, (file, name)


# What each part of the workbench may import beside itself.
WORKBENCH = {
    "toolchain": {"layout", "shell"},
    "cluster": {"layout", "shell", "toolchain"},
    "sandbox": {"layout", "shell", "toolchain", "cluster"},
    "ci": set[str](),
}


def test_the_workbench_has_layers_and_does_not_import_the_program() -> None:
    folders = {file.parent.name for file in (ROOT / "workbench").glob("*/__init__.py")}
    assert folders == set(WORKBENCH)
    for file, name in ours("workbench"):
        assert name.split(".")[0] == "workbench", (file, name)
        folder, part = file.parts[1], name.split(".")[1]
        if folder in WORKBENCH:
            assert part in WORKBENCH[folder] | {folder}, (file, name)
        else:
            assert part in {"layout", "shell"}, (file, name)


def test_no_component_imports_another() -> None:
    for file, name in ours("components"):
        parts = name.split(".")
        if file.stem in components() and file.parent.name == "components" and parts[0] == "components":
            assert parts[1] not in components(), f"{file} imports {name}"
            allowed = HELPERS | ({"network"} if file.stem == "evaluation" else set())
            assert parts[1] in allowed, f"{file} imports {name}"


@pytest.mark.parametrize("name", sorted(HELPERS))
def test_helpers_import_no_component(name: str) -> None:
    files = [*(ROOT / "components" / name).rglob("*.py"), *(ROOT / "components").glob(f"{name}.py")]
    assert files
    for file in files:
        for each in imports(file):
            parts = each.split(".")
            if parts[0] == "components":
                assert parts[1] in HELPERS, f"{file} imports {each}"


def test_only_the_settings_read_the_configuration() -> None:
    for file in [ROOT / "__main__.py", *(ROOT / "components").rglob("*.py")]:
        if "settings" not in file.parts:
            assert "pulumi.Config" not in file.read_text(), file
            assert "os.environ" not in file.read_text() or file.name == "preflight.py", file


def test_every_folder_with_tests_is_collected() -> None:
    for file in (ROOT / "tests").rglob("*.py"):
        if "def test_" in file.read_text():
            assert file.name.startswith("test_"), file
            assert (file.parent / "__init__.py").exists(), file


def test_the_program_stays_a_readable_list() -> None:
    assert len((ROOT / "__main__.py").read_text().splitlines()) <= 110
    for file in (ROOT / "components").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 300, file
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())
                assert length <= 60, f"{file}: {node.name} has {length} lines"
