"""The alerts' texts in English and Korean: each in both, with the same words and the same questions to Prometheus."""

import re

import pytest

from components.settings.model import Language
from monitoring.alerts import ALERTS, Alert
from monitoring.korean import KOREAN
from monitoring.names import RUNBOOK_URLS
from monitoring.rules import LIMITS, rule_groups
from monitoring.texts import ENGLISH, PHRASES, WORD, fill
from monitoring.thresholds import Windows
from vllm_eval.pages.words import LANGUAGES
from workbench.paths import REPOSITORY

HANGUL = re.compile("[가-힣]")
# A particle that depends on the last sound of what stands before it, and a name or a number of any sound before it.
PARTICLE = re.compile(r"(?<=[\]}])(은|는|이|가|을|를|과|와|으로)(?=[ ,.(])")
# These end in a sound that is known: 퍼센트, 시간 or 일.
KNOWN = {"percent", "reference", "baseline", "drop"}


def test_every_alert_speaks_korean_and_no_other_does() -> None:
    assert list(KOREAN) == [alert.name for alert in ALERTS]


def test_every_place_that_knows_languages_knows_the_same() -> None:
    assert set(PHRASES) == set(LANGUAGES) == set(RUNBOOK_URLS) == {each.value for each in Language}
    assert PHRASES["ko"].keys() == PHRASES[ENGLISH].keys()


@pytest.mark.parametrize("language", RUNBOOK_URLS)
@pytest.mark.parametrize("given", [None, "https://wiki/runbook"])
def test_an_alert_leads_to_its_section_of_the_runbook_in_its_language(language: str, given: str | None) -> None:
    groups = rule_groups(stack="s", models=[], language=language, runbook_url=given)
    alerts = {rule["alert"]: rule["annotations"] for group in groups for rule in group["rules"] if "alert" in rule}
    for name, annotations in alerts.items():
        assert annotations["runbook_url"] == f"{given or RUNBOOK_URLS[language]}#{name.lower()}"
    if given is None:
        page = (REPOSITORY / RUNBOOK_URLS[language].partition("/blob/main/")[2]).read_text(encoding="utf-8")
        assert re.findall("^## (.*)$", page, re.MULTILINE) == list(KOREAN)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_both_languages_have_the_same_words(alert: Alert) -> None:
    for english, korean in zip((alert.summary, alert.description), KOREAN[alert.name], strict=True):
        assert set(WORD.findall(korean)) == set(WORD.findall(english))
        assert HANGUL.search(korean)
        actions = [sorted(re.findall(r"{{.*?}}", fill(each, LIMITS, Windows(), language)))
                   for each, language in ((english, ENGLISH), (korean, "ko"))]  # fmt: skip
        labels = [set(re.findall(r"\$labels\.\w+", str(each))) for each in actions]
        assert labels[0] == labels[1]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_no_particle_depends_on_a_name(alert: Alert) -> None:
    for text in KOREAN[alert.name]:
        for found in PARTICLE.finditer(text):
            word = re.search(r"\[(\w+)\]$", text[: found.start()])
            assert word is not None
            assert word[1] in KNOWN, text[max(0, found.start() - 30) : found.end() + 5]
