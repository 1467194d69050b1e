"""Write the artefacts that are committed: ``python -m monitoring``, from the repository's root."""

from pathlib import Path

from monitoring import dashboard_json, rules_file

ARTEFACTS = {"alert-rules.yaml": rules_file, "dashboard.json": dashboard_json}


def main() -> None:
    """Write every artefact beside this file."""
    for name, make in ARTEFACTS.items():
        Path(__file__).with_name(name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
