"""Forms of texts, each with the words in which a wrong one is refused."""

import json
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from monitoring.thresholds import DURATION
from vllm_eval import models as runner

WORDS: Final[dict[str, str]] = {}
"""What an error says instead of a pattern, by the pattern."""


def form(pattern: str, words: str) -> StringConstraints:
    """Return the constraint of a text, and remember its words."""
    WORDS[pattern] = words
    return StringConstraints(pattern=pattern)


def _splits(address: str) -> str:
    try:
        urlsplit(address)
    except ValueError:
        raise ValueError("must be an address: brackets stand around an IPv6 address, and nowhere else") from None
    return address


ADDRESS: Final = AfterValidator(_splits)


DnsLabel = Annotated[
    str,
    form(
        r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        "must be lower-case letters, digits and inner dashes, 63 characters at most",
    ),
]
DnsName = Annotated[
    str,
    form(
        r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        "must be lower-case letters, digits, inner dashes and dots, 253 characters at most",
    ),
]
Quantity = Annotated[
    str,
    form(r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?$", "must be a quantity such as 500m, 2 or 4Gi"),
    # Kubernetes takes a bare number, too.
    BeforeValidator(
        lambda given: json.dumps(given) if type(given) in {int, float} else given,
        json_schema_input_type=str | int | float,
    ),
]
ONE_LINE: Final = form(r"^\S(.*\S)?$", "must be one line, without a blank at either end")
Text = Annotated[str, StringConstraints(min_length=1, max_length=200), ONE_LINE]
ModelName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=runner.LONGEST_NAME),
    form(
        rf"^[^\s{runner.CONTROL}]([^{runner.CONTROL}]*[^\s{runner.CONTROL}])?$",
        "must be one line of printable characters, without a blank at either end",
    ),
]
Url = Annotated[
    str,
    form(r"^https?://[^\s/?#]+[^\s?#]*$", "must be an http:// or https:// address without a query or fragment"),
    ADDRESS,
]
Cidr = Annotated[
    str,
    form(
        r"^[0-9a-fA-F:.]+/[0-9]{1,3}$",
        "must be a network address such as 10.0.0.7/32; a NetworkPolicy knows no names",
    ),
]
Digest = Annotated[str, form(r"^sha256:[0-9a-f]{64}$", "must be sha256: and 64 hexadecimal digits")]
Duration = Annotated[str, form(DURATION, "must be a number and one of s, m, h, d, such as 36h")]
GitAddress = Annotated[
    str,
    form(
        r"^(https?://|ssh://|[\w.-]+@[\w.-]+:)\S+$",
        "must begin with https://, http://, ssh:// or user@host: and hold no blank",
    ),
    ADDRESS,
]
Version = Annotated[
    str, form(r"^[0-9]+\.[0-9]+\.[0-9]+([-+].+)?$", "must be one exact version such as 1.2.3, no range")
]
StoreUrl = Annotated[str, form(r"^[a-z0-9]+://\S+$", "must be an fsspec address such as s3://bucket/folder"), ADDRESS]
Schedule = Annotated[
    str, form(r"^(\S+ ){4}\S+$|^@\w+$", "must be five fields of cron, such as 0 18 * * *, or a word such as @daily")
]
ImageName = Annotated[
    str,
    form(r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$", "must be registry/name in lower case, without a tag or digest"),
]
ImageReference = Annotated[
    str,
    form(
        r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+:[\w][\w.-]{0,127}$",
        "must be registry/name:tag in lower case, without a digest",
    ),
]
BundleImage = Annotated[
    str,
    form(
        r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
        "must be registry/name:tag in lower case, with a digest if you like",
    ),
]
ImageTag = Annotated[
    str,
    form(r"^[\w][\w.-]{0,127}$", "must be letters, digits, dots, dashes and underscores, 128 characters at most"),
]
ConfigName = Annotated[
    str,
    form(
        r"^[A-Za-z0-9_-][\w.-]*(/[A-Za-z0-9_-][\w.-]*)*$",
        "must be a file below configs/ without its .json, such as suites/korean",
    ),
]
QualifiedName = Annotated[
    str,
    form(
        r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$",
        "must be a name of Kubernetes, such as app or example.com/app",
    ),
]
LabelValue = Annotated[
    str,
    form(
        r"^([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$",
        "must be a label's value: letters, digits, inner dashes, dots and underscores, 63 characters at most",
    ),
]
VariableName = Annotated[str, form(r"^[A-Za-z_][\w.-]*$", "must be a variable's name: letters, digits and underscores")]
SecretKeyName = Annotated[
    str, form(r"^[A-Za-z0-9._-]{1,253}$", "must be a key of a Secret: letters, digits, dots, dashes and underscores")
]
LabelSet = dict[QualifiedName, LabelValue]
