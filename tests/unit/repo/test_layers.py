"""What import-linter (pyproject.toml) does not see of who may use what."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


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
