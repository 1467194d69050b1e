"""Write the files that are made: ``python -m monitoring``, from the repository's root; `make generate` makes all."""

from pathlib import Path

from monitoring import artefacts

if __name__ == "__main__":
    artefacts.write(Path(__file__).parent)
