"""Write the generated files of this folder: ``python -m monitoring``, from the repository's root."""

from pathlib import Path

from monitoring import artefacts

if __name__ == "__main__":
    artefacts.write(Path(__file__).parent)
