"""What import-linter (pyproject.toml) does not see of who may use what."""

import re
import tomllib

from workbench.paths import REPOSITORY


def test_only_the_settings_read_the_configuration() -> None:
    for file in [REPOSITORY / "__main__.py", *(REPOSITORY / "components").rglob("*.py")]:
        if "settings" not in file.parts:
            assert "pulumi.Config" not in file.read_text(), file
            assert "os.environ" not in file.read_text() or file.name == "preflight.py", file


def test_mypy_reads_what_is_used_of_a_package_that_it_mostly_skips() -> None:
    overrides = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    (read,) = [each["module"] for each in overrides if each.get("follow_imports") == "normal"]
    texts = [file.read_text() for file in (REPOSITORY / "components").rglob("*.py")]
    programs = [text for text in texts if "import pulumi_kubernetes as k8s" in text]
    used = {found for text in programs for found in re.findall(r"\bk8s\.(\w+\.\w+)", text)}
    assert used
    for name in used:
        group = name.partition(".")[0]
        fits = {f"pulumi_kubernetes.{each}" for each in (name, f"{name}.*", f"{group}.*")}
        assert fits & set(read), name
