"""The few calls of GitHub's REST API that the workflows need, with the job's own token."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

PAGE: Final = 100
TIMEOUT_SECONDS: Final = 30


class GitHubError(Exception):
    """GitHub refused a call, or was not reached."""


@dataclass(frozen=True)
class GitHub:
    """A repository on GitHub.

    Parameters
    ----------
    url
        Address of the API.
    repository
        `owner/name`.
    token
        Token of the job.
    """

    url: str
    repository: str
    token: str = field(repr=False)

    @classmethod
    def of_this_job(cls) -> Self:
        """Return the repository that the job runs in.

        Raises
        ------
        GitHubError
            A variable that Actions sets is missing.
        """
        missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not os.environ.get(name)]
        if missing:
            raise GitHubError(f"{' and '.join(missing)} not set: outside Actions there is no pull request to write to")
        url = os.environ.get("GITHUB_API_URL", "https://api.github.com")
        return cls(url, os.environ["GITHUB_REPOSITORY"], os.environ["GITHUB_TOKEN"])

    def upsert_comment(self, number: int, marker: str, body: str) -> str:
        """Write the one comment that begins with `marker`; return `created` or `updated`."""
        for comment in self._pages(f"issues/{number}/comments"):
            # Only a bot's: a person who quotes the comment keeps their text.
            if comment["user"]["type"] == "Bot" and str(comment["body"]).startswith(marker):
                self._call("PATCH", f"issues/comments/{comment['id']}", {"body": body})
                return "updated"
        self._call("POST", f"issues/{number}/comments", {"body": body})
        return "created"

    def start_workflow(self, workflow: str, ref: str, inputs: dict[str, str]) -> None:
        """Start a workflow that has a `workflow_dispatch` trigger."""
        self._call("POST", f"actions/workflows/{workflow}/dispatches", {"ref": ref, "inputs": inputs})

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            items = self._call("GET", f"{path}?per_page={PAGE}&page={page}")
            yield from items
            if len(items) < PAGE:
                return
            page += 1

    def _call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON the API answers
        address = f"{self.url}/repos/{self.repository}/{path}"
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data, headers, method=method)  # noqa: S310 - Actions sets the address
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - likewise
                text = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            raise GitHubError(f"{method} {address}: {error.code} {error.reason}: {said}") from error
        except OSError as error:
            raise GitHubError(f"{method} {address}: {error}") from error
        return json.loads(text) if text else None
