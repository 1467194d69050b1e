"""Forms of texts that several settings share."""

from typing import Annotated, Final

from pydantic import StringConstraints

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
SECRET_KEY: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"  # noqa: S105 (a pattern)
QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?$"
URL: Final = r"^https?://[^\s/?#]+[^\s?#]*$"

DnsLabel = Annotated[str, StringConstraints(pattern=DNS_LABEL)]
SecretKey = Annotated[str, StringConstraints(pattern=SECRET_KEY)]
Quantity = Annotated[str, StringConstraints(pattern=QUANTITY)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
Url = Annotated[str, StringConstraints(pattern=URL)]
Cidr = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F:.]+/[0-9]{1,3}$")]
LabelSet = dict[
    Annotated[str, StringConstraints(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$")],
    Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$")],
]
