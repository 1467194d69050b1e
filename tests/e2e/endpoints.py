"""Served models whose right answers are known, each a Deployment beside the real model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from workbench.cluster.kubectl import kubectl, rollout
from workbench.sandbox.cluster import apply
from workbench.shell import Runner

SERVER: Final = Path(__file__).parents[1] / "support" / "openai_server.py"
PORT: Final = 8000
# The evaluation image has all that the server needs: aiohttp, and the tasks' answers.
IMAGE: Final = "ghcr.io/vllm-eval/vllm-eval-evalchemy:latest"
DATA: Final = "/opt/vllm-eval/data"


class Endpoint:
    """One such model, named as its Service; see ``tests/support/openai_server.py`` for its plan.

    Parameters
    ----------
    runner
        Runs kubectl on a cluster that can pull the evaluation image.
    name
        Of Deployment and Service, and the id of the served model.
    namespace
        Where it runs; there already.
    answers
        Question to right answer, of what the evaluation image has no data of.
    """

    def __init__(
        self, runner: Runner, name: str, namespace: str = "serving", answers: Mapping[str, str] | None = None
    ) -> None:
        self._runner = runner
        self.name = name
        self._namespace = namespace
        self._answers = answers or {}
        self._proxy = f"/api/v1/namespaces/{namespace}/services/{name}:{PORT}/proxy"

    @property
    def url(self) -> str:
        """Base address of its API inside the cluster."""
        return f"http://{self.name}.{self._namespace}.svc.cluster.local:{PORT}/v1"

    def start(self) -> None:
        """Create its objects and wait until it answers."""
        apply(self._runner, _objects(self.name, self._namespace, self._answers))
        rollout(self._runner, f"-n {self._namespace} deployment/{self.name}")

    def settings(self, **more: Any) -> dict[str, Any]:  # noqa: ANN401 -- settings are of any type
        """Return its entry in the stack's list of models."""
        network = {"namespace": self._namespace, "labels": _labels(self.name), "port": PORT}
        return {"name": self.name, "tag": f"{self.name}-v1", "endpoint": self.url, "network": network, **more}

    def plan(self, **changes: Any) -> None:  # noqa: ANN401 -- a plan's values are of any type
        """Change how it answers from now on."""
        kubectl(self._runner, "replace", f"--raw={self._proxy}/admin", "-f", "-", stdin=json.dumps(changes))

    def asked(self) -> int:
        """Return how many completions it was asked for since the last `forget`."""
        return int(json.loads(kubectl(self._runner, "get", f"--raw={self._proxy}/admin"))["requests"])

    def prompts(self) -> set[str]:
        """Return the prompts that it was asked for a completion of."""
        bodies = json.loads(kubectl(self._runner, "get", f"--raw={self._proxy}/admin/requests"))
        return {body["prompt"] for body in bodies}

    def answer(self, prompt: str) -> str:
        """Ask it for a completion, which depends on its plan alone."""
        body = json.dumps({"model": self.name, "prompt": prompt})
        said = kubectl(self._runner, "create", f"--raw={self._proxy}/v1/completions", "-f", "-", stdin=body)
        return str(json.loads(said)["choices"][0]["text"])

    def forget(self) -> None:
        """Count from zero again."""
        kubectl(self._runner, "delete", f"--raw={self._proxy}/admin")


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _objects(name: str, namespace: str, answers: Mapping[str, str]) -> list[dict[str, object]]:
    rows = [{"question": question, "answer": answer} for question, answer in answers.items()]
    files = {"server.py": SERVER.read_text(), "more.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}
    metadata = {"name": name, "namespace": namespace, "labels": _labels(name)}
    container = {
        "name": "server",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "/server/server.py", "--host=0.0.0.0", f"--port={PORT}", f"--model={name}"],
        "args": [*(f"--data={DATA}/custom_task_{number}.jsonl" for number in (1, 2)), "--data=/server/more.jsonl"],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "server", "mountPath": "/server"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "server", "configMap": {"name": name}}],
    }
    template = {"metadata": {"labels": _labels(name)}, "spec": pod}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": _labels(name)}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": _labels(name), "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]},
        },
    ]
