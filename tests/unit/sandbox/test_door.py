"""The first page of `make ui`: what it shows, and what it does not give away."""

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.sandbox_door import ALERT, Answering, open_door
from workbench.toolchain import prometheus_page as built


def get(url: str, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_it_shows_scores_alerts_and_the_application_and_leads_to_the_reports(tmp_path: Path) -> None:
    with open_door(Answering(tmp_path).with_reports()) as url:
        status, page = get(url, "/")
        assert status == 200
        for text in ("1 alert firing: EvaluationRegression", "0.634", "✓ Synced", "✓ Healthy", "4f1d2c9a7be0"):
            assert text in page, text
        (last,) = [line for line in page.splitlines() if "last run" in line]
        path = last.split('href="')[1].split('"')[0]
        assert "custom_task_1 became worse" in get(url, path)[1]
        assert "org/small-model" in get(url, "/results/index.html")[1]


def test_what_cannot_be_had_is_said_in_its_place_and_the_rest_stays(tmp_path: Path) -> None:
    away: dict[str, str | None] = {"/api/v2/alerts": None, "pvc": "", "applications.argoproj.io": "not JSON"}
    with open_door(Answering(tmp_path, away)) as url:
        status, page = get(url, "/")
    assert status == 200
    assert "Alertmanager does not answer: the server is away" in page
    assert "the claim vllm-eval-results has no volume yet" in page
    assert "0.634" in page


def test_text_of_the_cluster_is_no_markup(tmp_path: Path) -> None:
    summary = "<script>alert(1)</script>"
    hostile = [{**ALERT, "labels": {"alertname": summary}, "annotations": {"summary": summary}}]
    with open_door(Answering(tmp_path, {"/api/v2/alerts": json.dumps(hostile)})) as url:
        assert "<script" not in get(url, "/")[1]


@pytest.mark.parametrize(
    "path",
    [
        "/results/../../secret.html", "/results/%2e%2e/%2e%2e/secret.html", "/results//etc/passwd", "/results/",
        "/results/pages/local/org%252Fsmall-model.json", "/results/%00.html", "/other",
    ],
)  # fmt: skip
def test_it_gives_reports_and_nothing_else(tmp_path: Path, path: str) -> None:
    sandbox = Answering(tmp_path).with_reports()
    (sandbox.paths.state / "secret.html").write_text("secret")
    (sandbox.paths.state / "volumes/secret.html").write_text("secret")
    with open_door(sandbox) as url:
        status, page = get(url, path)
    assert status in {404, 503}
    assert "secret" not in page


def test_a_name_of_another_site_is_refused(tmp_path: Path) -> None:
    with open_door(Answering(tmp_path)) as url:
        assert get(url, "/", host="attacker.example:8000")[0] == 403


@pytest.fixture
def prometheus(tmp_path: Path) -> Answering:
    """A sandbox for which Prometheus' page was built."""
    sandbox = Answering(tmp_path, {"/proxy/api/v1/labels?limit=9": '{"status": "success"}', "/api/v1/broken": None})
    page = built.folder(sandbox.paths)
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<title>TITLE_PLACEHOLDER</title>READY_PLACEHOLDER")
    (page / "assets/index.js").write_text("1")
    (tmp_path / "tools/secret.js").write_text("secret")
    return sandbox


def test_prometheus_page_is_served_with_its_api_where_it_was_built(prometheus: Answering) -> None:
    with open_door(prometheus) as url:
        assert 'href="/prometheus/query"' in get(url, "/")[1]
        for path in ("/prometheus/query?g0.expr=up", "/prometheus/alerts"):
            assert get(url, path) == (200, "<title>Prometheus of the sandbox</title>true")
        assert get(url, "/prometheus/assets/index.js") == (200, "1")
        assert get(url, "/prometheus/api/v1/labels?limit=9") == (200, '{"status": "success"}')
        status, told = get(url, "/prometheus/api/v1/broken")
        assert (status, json.loads(told)["error"]) == (502, "the server is away")


@pytest.mark.parametrize("path", ["/prometheus/assets/../../secret.js", "/prometheus/assets/none.js"])
def test_prometheus_page_gives_its_own_files_alone(prometheus: Answering, path: str) -> None:
    with open_door(prometheus) as url:
        assert get(url, path) == (404, "no such file")


def test_without_prometheus_page_the_first_page_says_how_it_is_built(tmp_path: Path) -> None:
    with open_door(Answering(tmp_path)) as url:
        assert "make prometheus-page" in get(url, "/")[1]
        assert get(url, "/prometheus/query")[0] == 404
