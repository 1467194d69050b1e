"""The stack's patches do the same to the manifests in Pulumi's hands as in kustomize's."""

import copy
import json

import pytest
import yaml

from components import labels, patches
from tests.support import program
from vllm_eval.models import parse_models
from vllm_eval.settings import load_settings
from workbench.paths import REPOSITORY

JOB = REPOSITORY / "k8s" / "evalchemy-job.yaml"


@pytest.mark.parametrize("key", ["name", "namespace"])
def test_pulumi_refuses_a_patch_whose_object_was_renamed(key: str) -> None:
    manifest = yaml.safe_load(JOB.read_text())
    manifest["metadata"][key] = "other"
    loaded = program.load(program.stack_file("dev"))
    with pytest.raises(ValueError, match=r"no patch of the stack is for batch/v1 Job .*components/labels\.py"):
        patches.apply(manifest, patches.of(loaded), "vllm-eval")


def test_applying_leaves_manifest_and_patches_alone() -> None:
    manifest = yaml.safe_load(JOB.read_text())
    wanted = patches.of(program.load(program.stack_file("dev")))
    before = copy.deepcopy((manifest, wanted))
    applied = patches.apply(manifest, wanted, "elsewhere")
    applied["spec"]["template"]["spec"]["containers"][0]["env"].clear()
    applied["metadata"]["labels"].clear()
    assert (manifest, wanted) == before


def test_what_a_stack_sets_on_the_job() -> None:
    groups = program.stack_file("prod")
    groups["evaluation"] = {
        "deadline_seconds": 1000,
        "endpoint_wait_seconds": 30,
        "answer_max_age_seconds": 60,
        "limit": 7,
        "config": "suites/korean",
        "data": {"hub": {"network": {"cidr": "0.0.0.0/0", "port": 443}}, "cache": "hub-cache"},
    }
    groups["models"][0]["tasks"] = ["hrm8k"]
    loaded = program.load(groups, {"huggingface-token": "x"}, "prod")
    job = patches.apply(yaml.safe_load(JOB.read_text()), patches.of(loaded), "elsewhere")
    assert job["metadata"]["namespace"] == "elsewhere"
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (2, 1)
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "evalchemy"
    # The runner says why it ends: the pod's own deadline comes later.
    assert pod["activeDeadlineSeconds"] == 1900
    volumes = {each["name"]: {key for key in each if key != "name"} for each in pod["volumes"]}
    assert all(len(sources) == 1 for sources in volumes.values()), volumes
    assert volumes["results"] == {"persistentVolumeClaim"}
    environment = {each["name"]: each.get("value", each.get("valueFrom")) for each in pod["containers"][0]["env"]}
    assert environment == {
        "VLLM_EVAL_STACK": "prod",
        "VLLM_EVAL_PUSHGATEWAY": "http://vllm-eval-pushgateway:9091",
        "VLLM_EVAL_DEADLINE_SECONDS": "1000",
        "VLLM_EVAL_ENDPOINT_WAIT_SECONDS": "30",
        "VLLM_EVAL_ANSWER_MAX_AGE_SECONDS": "60",
        "VLLM_EVAL_LIMIT": "7",
        "VLLM_EVAL_CONFIG": "/opt/vllm-eval/configs/suites/korean.json",
        "VLLM_EVAL_RESULTS": "/results",
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_ENDPOINT": "https://huggingface.co",
        "HF_HOME": "/var/cache/huggingface",
        "HF_TOKEN": {"secretKeyRef": {"name": "vllm-eval-huggingface", "key": "token"}},
        "HOME": "/tmp",  # noqa: S108 (a path in the pod)
        "VLLM_EVAL_RUN_ID": environment["VLLM_EVAL_RUN_ID"],
        "VLLM_EVAL_JOB_NAME": environment["VLLM_EVAL_JOB_NAME"],
    }
    # The runner refuses a variable that it does not know, and a stack may not set ours through `evaluation.pod.env`.
    load_settings({name: value for name, value in environment.items() if isinstance(value, str)}, {})
    own = environment.keys() - {each["name"] for each in patches.container()["env"]}
    assert own <= patches.VARIABLES, f"name in patches.VARIABLES: {sorted(own - patches.VARIABLES)}"
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    assert annotations.keys() == {"git-commit", "vllm-eval/models"}
    assert annotations["vllm-eval/models"] == patches.models_json(loaded.models)
    assert [each.get("tasks") for each in json.loads(annotations["vllm-eval/models"])] == [["hrm8k"], None]
    assert "network" not in annotations["vllm-eval/models"]


def test_results_at_a_url_need_no_claim() -> None:
    groups = program.stack_file("prod")
    groups["evaluation"] = {"results": {"url": "s3://bucket/folder"}, "egress": [{"cidr": "0.0.0.0/0", "port": 443}]}
    job = patches.apply(yaml.safe_load(JOB.read_text()), patches.of(program.load(groups)), "vllm-eval")
    pod = job["spec"]["template"]["spec"]
    assert {"name": "results", "emptyDir": {}} in pod["volumes"]
    assert {"name": "VLLM_EVAL_RESULTS", "value": "s3://bucket/folder"} in pod["containers"][0]["env"]


def test_the_models_text_is_the_same_whatever_the_order_of_keys() -> None:
    groups = program.stack_file("prod")
    other = {**groups, "models": [dict(reversed(each.items())) for each in groups["models"]]}
    assert patches.models_json(program.load(groups).models) == patches.models_json(program.load(other).models)
    first = patches.models_json(program.load(groups).models)
    assert first.startswith('[{"api":"chat","concurrency":32,"endpoint":')


def test_a_stack_may_not_name_the_image_where_git_does() -> None:
    for each in patches.of(program.load(program.stack_file("prod"))):
        assert "image" not in str(each)


def test_the_runner_reads_what_the_patch_writes() -> None:
    loaded = program.load(program.stack_file("local"))
    (model,) = parse_models(patches.models_json(loaded.models), "annotation")
    assert (model.name, model.tag, model.concurrency, model.api) == ("gemma-3-270m", "v1", 4, "completions")


def test_two_tags_of_one_model_are_two_models_in_either_order() -> None:
    groups = program.stack_file("local")
    (model,) = groups["models"]
    others = [{**model, "tag": tag, "endpoint": f"http://{tag}.serving.svc:8000/v1"} for tag in ("bf16", "fp8")]
    for listed in (others, others[::-1]):
        loaded = program.load({**groups, "models": listed})
        seen = parse_models(patches.models_json(loaded.models), "annotation")
        assert {(each.name, each.tag, each.asked_name) for each in seen} == {
            ("gemma-3-270m@bf16", "bf16", "gemma-3-270m"),
            ("gemma-3-270m@fp8", "fp8", "gemma-3-270m"),
        }


def test_pods_in_flight_never_exceed_the_models() -> None:
    groups = program.stack_file("dev")
    groups["evaluation"] = {**groups["evaluation"], "parallelism": 8, "results": {"access_mode": "ReadWriteMany"}}
    job, _ = patches.of(program.load(groups))
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (1, 1)


def test_no_schedule_suspends_the_nightly() -> None:
    groups = program.stack_file("dev")
    groups["evaluation"] = {**groups["evaluation"], "schedule": None}
    groups["monitoring"] = {"stale": "30d"}
    _, nightly = patches.of(program.load(groups))
    assert nightly["spec"] == {"timeZone": "Etc/UTC", "suspend": True}
    assert nightly["metadata"] == {"name": labels.NIGHTLY, "namespace": labels.NAMESPACE}
