"""What is counted of a task's answers beside their score."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Record(BaseModel):
    """Base of what is stored: unknown keys are ignored, so that an older version can read a newer file."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Thoughts(Record):
    """What the models' thoughts of one task came to.

    ``answers`` hold a thought, of which ``unfinished`` were cut by the token
    limit before it ended; ``in_text`` have tags of thoughts in their text.
    ``tokens`` is None where the server does not count them.
    """

    answers: int = 0
    unfinished: int = 0
    in_text: int = 0
    characters: int = 0
    tokens: int | None = None
