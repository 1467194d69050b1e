"""Rules on the receivers of alerts."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from components.settings import keys
from components.settings.monitored import Monitoring, Receiver, ReceiverKind
from components.settings.partial import is_whole
from components.settings.problems import Problem, full_key, problem, rm_command, set_command

Found = Iterator[Problem]
LIST: Final = ("monitoring", "receivers")


def check_receivers(monitoring: Monitoring, secrets: Mapping[str, str]) -> Found:
    """Refuse receivers that get no alerts, share a name or lack an address; and addresses that no receiver uses."""
    listed = monitoring.receivers
    if listed and not monitoring.enabled:
        yield Problem(full_key(LIST), "", "has no effect with enabled: false, which makes no alerts", rm_command(LIST))
    names = [vars(each).get("name") for each in listed]
    for index, each in enumerate(listed):
        if is_whole(each):
            yield from _of_one(index, each, secrets, twice=each.name in names[:index])
    # A receiver whose name is wrong may be the one that the secret is for.
    for key in sorted(secrets) if None not in names else ():
        if key.startswith(keys.RECEIVER_PREFIX) and key.removeprefix(keys.RECEIVER_PREFIX) not in names:
            fault = "no receiver of monitoring.receivers has this name"
            yield Problem(full_key([key]), "", fault, f"pulumi config rm {full_key([key])}")


def _of_one(index: int, receiver: Receiver, secrets: Mapping[str, str], *, twice: bool) -> Found:
    path: list[str | int] = [*LIST, index]
    key = f"{keys.RECEIVER_PREFIX}{receiver.name}"
    if twice:
        cure = set_command([*path, "name"], f"{receiver.name}-{index}")
        yield problem([*path, "name"], receiver.name, "is another receiver's name, too", cure)
    elif receiver.url is None and key not in secrets:
        cure = set_command([key], "", secret=True)
        yield problem([*path, "name"], receiver.name, f"url is not set, and neither is the secret {key}", cure)
    elif receiver.url is not None and key in secrets:
        fault = f"has no effect beside url of {'.'.join(LIST)}[{index}]"
        yield Problem(full_key([key]), "", fault, f"pulumi config rm {full_key([key])}")
    if receiver.channel is not None and receiver.kind is not ReceiverKind.SLACK:
        channel = [*path, "channel"]
        yield problem(channel, receiver.channel, f"has no effect on a {receiver.kind.value}", rm_command(channel))
    if not receiver.severities:
        cure = rm_command([*path, "severities"])
        yield problem([*path, "severities"], [], "it would receive no alert", f"{cure} for the default")


def check_receiver_addresses(texts: Mapping[str, str]) -> Found:
    """Refuse secrets that are no address; they are never shown."""
    for key, text in texts.items():
        if key.startswith(keys.RECEIVER_PREFIX) and text.strip() and not re.fullmatch(r"https?://[^\s/]+\S*", text):
            yield Problem(full_key([key]), "", "is no http:// or https:// address", set_command([key], "", secret=True))


RECEIVER_CHECKS: Final[tuple[Callable[..., Found], ...]] = (check_receivers, check_receiver_addresses)
