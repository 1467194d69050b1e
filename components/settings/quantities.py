"""Amounts as Kubernetes and Prometheus write them; the models have checked their form."""

import re
from fractions import Fraction
from typing import Final

from monitoring.thresholds import parse_duration

_FACTORS: Final = {
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{unit: Fraction(1000 ** (power + 1)) for power, unit in enumerate("kMGTPE")},
    **{f"{unit}i": Fraction(1024 ** (power + 1)) for power, unit in enumerate("KMGTPE")},
}


seconds: Final = parse_duration
"""The seconds of a duration such as ``24h``, as the alert rules read it."""


def amount(quantity: str) -> Fraction:
    """Return a quantity such as ``500m`` or ``2Gi`` as a number of its base unit."""
    number, unit = re.fullmatch(r"([0-9.]+)(\D*)", quantity).groups()  # type: ignore[union-attr] # the model's pattern
    return Fraction(number) * _FACTORS[unit]
