"""What the runner reads: configuration, models, environment. Bad input is named, all of it at once."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_eval.config import parse_config
from vllm_eval.errors import ConfigError, ModelsError, RunSettingsError
from vllm_eval.models import Model, parse_models, select_model
from vllm_eval.settings import VARIABLES, RunSettings, load_settings
from workbench.paths import REPOSITORY

URL = "http://model.serving.svc:8000/v1"
ENTRY = {"name": "google/gemma-3-270m", "tag": "v1", "endpoint": URL}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ("{}", "no task is enabled"),
        ('{"t": {"enabled": false}}', "no task is enabled"),
        ('{"t": {}}', "t.enabled: missing"),
        ('{"t": {"enabled": "true"}}', 't.enabled: input should be a valid boolean (got "true")'),
        ('{"t": {"enabled": 1}}', "t.enabled"),
        ('{"t": {"enabled": true, "limits": 5}}', "t.limits: unknown key"),
        ('{"t": {"enabled": true, "limit": 0}}', "t.limit"),
        ('{"t": {"enabled": true, "limit": "5"}}', "t.limit"),
        ('{"t": {"enabled": true, "max_empty_share": 1.5}}', "t.max_empty_share"),
        ('{"t": {"enabled": true, "max_empty_share": NaN}}', "NaN is not JSON"),
        ('{"t": {"enabled": true}, "t": {"enabled": false}}', "'t' is there twice"),
        ('{"a b": {"enabled": true}}', "'a b'"),
        ('{"t": true}', "t: "),
    ],
)
def test_a_bad_configuration_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=r"^file") as caught:
        parse_config(text, "file")
    assert named in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config('{"a": {"enabled": 1}, "b": {}, "c": {"enabled": true, "x": 1}}', "file")
    assert "3 problems" in str(caught.value)


names = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
shares = st.floats(0, 1)
settings = st.fixed_dictionaries(
    {"enabled": st.booleans()},
    optional={
        "engine": st.sampled_from(["lm_eval", "evalchemy", "fake"]),
        "limit": st.integers(1, 10**6),
        "metric": names,
        "filter": names,
        "max_empty_share": shares,
        "max_truncated_share": shares,
        "cluster": names,
    },
)


@given(st.dictionaries(names, settings, min_size=1))
def test_every_valid_configuration_is_read_as_written(document: dict[str, dict[str, Any]]) -> None:
    enabled = {name: entry for name, entry in document.items() if entry["enabled"]}
    if not enabled:
        with pytest.raises(ConfigError):
            parse_config(json.dumps(document), "file")
        return
    parsed = parse_config(json.dumps(document), "file")
    assert list(parsed) == list(enabled)
    for name, entry in enabled.items():
        assert parsed[name].model_dump(exclude_unset=True) == entry


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.one_of(st.text(), json_values.map(json.dumps)))
def test_any_other_text_is_a_clear_error_and_never_a_crash(text: str) -> None:
    for parse, error in ((parse_config, ConfigError), (parse_models, ModelsError)):
        said = "file"
        try:
            parse(text, "file")
        except error as caught:
            said = str(caught)
        assert said.startswith("file")


def test_a_model_has_defaults() -> None:
    (model,) = parse_models(json.dumps([ENTRY]), "file")
    assert (model.api, model.concurrency, model.asked_name) == ("completions", 8, "google/gemma-3-270m")
    assert model.identity()["served_name"] == "google/gemma-3-270m"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"endpoint": "model:8000"}, "[0].endpoint: must be an http or https URL"),
        ({"endpoint": "ftp://model/v1"}, "[0].endpoint"),
        ({"endpoint": f"{URL}/chat/completions"}, "remove '/chat/completions'"),
        ({"endpoint": f"{URL}/completions/"}, "remove '/completions'"),
        ({"endpoint": "http://user:secret@model/v1"}, "must not carry a user"),
        ({"endpoint": f"{URL}?key=1"}, "must not carry"),
        ({"endpoint": "http://[::1/v1"}, "not a URL"),
        ({"endpoint": "http://model:port/v1"}, "not a URL"),
        ({"tag": ""}, "[0].tag"),
        ({"tag": "a\nb"}, "[0].tag"),
        ({"tag": 1}, "[0].tag"),
        ({"api": "chatty"}, "[0].api"),
        ({"concurrency": 0}, "[0].concurrency"),
        ({"concurrency": "8"}, "[0].concurrency"),
        ({"api_key": "../key"}, "[0].api_key"),
        ({"baseline": "run"}, "[0].baseline"),
        ({"baseline": {"runs": "x"}}, "[0].baseline.run: missing"),
        ({"api-key": "x"}, "[0].api-key: unknown key"),
    ],
)
def test_a_bad_model_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelsError, match=r"^file") as caught:
        parse_models(json.dumps([{**ENTRY, **change}]), "file")
    assert named in str(caught.value)


@pytest.mark.parametrize("field", ["name", "tag"])
def test_two_models_share_neither_name_nor_tag(field: str) -> None:
    other = {"name": "other", "tag": "v2", "endpoint": URL, field: ENTRY[field]}
    with pytest.raises(ModelsError, match=field):
        parse_models(json.dumps([ENTRY, other]), "file")


def test_an_index_beyond_the_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(json.dumps([ENTRY]))
    with pytest.raises(ModelsError, match="JOB_COMPLETION_INDEX is '1'"):
        select_model(tmp_path / "models.json", {"JOB_COMPLETION_INDEX": "1"}, {})


def test_without_an_index_one_model_is_clear_and_several_are_not(tmp_path: Path) -> None:
    file = tmp_path / "models.json"
    file.write_text(json.dumps([ENTRY]))
    assert select_model(file, {}, {}).model.tag == "v1"
    file.write_text(json.dumps([ENTRY, {**ENTRY, "name": "other", "tag": "v2"}]))
    with pytest.raises(ModelsError, match="the Job must be Indexed"):
        select_model(file, {}, {})


@pytest.mark.parametrize("content", [None, "", "[]", " [] \n"])
def test_without_a_list_the_environment_is_the_model(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "models.json").write_text(content)
    environ = {"MODEL_ENDPOINT": URL, "MODEL_NAME": "m", "MODEL_TAG": "t", "JOB_COMPLETION_INDEX": "0"}
    selection = select_model(tmp_path / "models.json", environ, {})
    assert selection.model == Model(name="m", tag="t", endpoint=URL)
    assert selection.listed is None


def test_no_model_at_all_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ModelsError, match=r"--endpoint \(MODEL_ENDPOINT\), --tag \(MODEL_TAG\)"):
        select_model(tmp_path / "models.json", {"MODEL_NAME": "m"}, {})


def test_the_order_of_keys_does_not_change_the_list(tmp_path: Path) -> None:
    hashes = set()
    for entry in (ENTRY, dict(reversed(ENTRY.items()))):
        (tmp_path / "models.json").write_text(json.dumps([entry]))
        hashes.add(select_model(tmp_path / "models.json", {}, {}).list_hash)
    assert len(hashes) == 1


def test_the_environment_is_read_and_the_command_line_wins() -> None:
    environ = {"VLLM_EVAL_STACK": "prod", "VLLM_EVAL_LIMIT": "100", "VLLM_EVAL_PUSHGATEWAY": "http://gateway:9091/"}
    settings = load_settings(environ, {"limit": 5, "stack": None, "model": "not a setting"})
    assert (settings.stack, settings.limit, settings.pushgateway) == ("prod", 5, "http://gateway:9091")


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load_settings(dict.fromkeys(VARIABLES, ""), {}) == RunSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VLLM_EVAL_LIMIT", "0"),
        ("VLLM_EVAL_LIMIT", "many"),
        ("VLLM_EVAL_DEADLINE_SECONDS", "-1"),
        ("VLLM_EVAL_DEADLINE_SECONDS", "nan"),
        ("VLLM_EVAL_DEADLINE_SECONDS", "1e12"),
        ("VLLM_EVAL_PUSHGATEWAY", "gateway:9091"),
        ("VLLM_EVAL_GATE", "yes"),
        ("VLLM_EVAL_STACK", "a\nb"),
        ("VLLM_EVAL_DEADLINE", "60"),
    ],
)
def test_a_bad_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(RunSettingsError, match=f"{name}: "):
        load_settings({name: value}, {})


def test_variables_that_kubernetes_makes_for_services_are_no_misspelt_settings() -> None:
    environ = {
        "VLLM_EVAL_PUSHGATEWAY_SERVICE_HOST": "10.0.0.1",
        "VLLM_EVAL_PUSHGATEWAY_SERVICE_PORT": "9091",
        "VLLM_EVAL_PUSHGATEWAY_SERVICE_PORT_HTTP": "9091",
        "VLLM_EVAL_PUSHGATEWAY_PORT": "tcp://10.0.0.1:9091",
        "VLLM_EVAL_PUSHGATEWAY_PORT_9091_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(environ, {}) == RunSettings()


def test_only_the_stacks_own_job_leaves_models_out() -> None:
    def incremental(**environ: str) -> bool:
        return load_settings(environ, {}).incremental

    assert incremental(VLLM_EVAL_JOB_NAME="evalchemy")
    assert not incremental(VLLM_EVAL_JOB_NAME="evalchemy-nightly-29400000")
    assert not incremental()
    assert not incremental(VLLM_EVAL_JOB_NAME="evalchemy", VLLM_EVAL_FORCE="1")


def test_every_variable_is_documented() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    internal = {
        "VLLM_EVAL_TASKS", "VLLM_EVAL_MODELS_FILE", "VLLM_EVAL_GIT_COMMIT_FILE", "VLLM_EVAL_SECRETS",
    }  # fmt: skip
    rows = re.findall(r"`(\w+)`", "\n".join(line for line in text.splitlines() if line.startswith("| `")))
    missing = set(VARIABLES) - internal - set(rows)
    assert not missing, f"each has a row in docs/architecture.md, The Job's interface: {sorted(missing)}"
