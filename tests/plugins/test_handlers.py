"""Objects against the real API server without the engine, and the client against servers that misbehave."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sandbox.plugins import cluster as client
from sandbox.plugins import kubeconfig, objects
from sandbox.plugins.cluster import ApiError, Cluster, NoSuchKindError, UnreachableError
from sandbox.plugins.kubeconfig import Access, KubeconfigError
from sandbox.plugins.objects import Objects
from sandbox.plugins.properties import UNKNOWN
from sandbox.plugins.server import PluginError
from tests.support.apiserver import CONTEXT, ApiServer

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap"}


@pytest.fixture
def cluster(server: ApiServer) -> Iterator[Cluster]:
    connected = Cluster(kubeconfig.load(str(server.kubeconfig), CONTEXT))
    yield connected
    connected.close()


def handler(cluster: Cluster, *options: str, namespace: str | None = None) -> Objects:
    return Objects(cluster, frozenset(options), namespace)


def config_map(name: str, **more: object) -> dict[str, Any]:
    return {**CONFIG_MAP, "metadata": {"name": name, "namespace": "default"}, **more}


class TestCheck:
    def test_what_is_left_out_is_filled_in_and_kept(self, cluster: Cluster) -> None:
        first = handler(cluster, namespace="there").check("data", {}, {**CONFIG_MAP})
        assert first["metadata"]["name"].startswith("data-")
        assert first["metadata"]["namespace"] == "there"
        again = handler(cluster).check("data", first, {**CONFIG_MAP})
        assert again["metadata"]["name"] == first["metadata"]["name"]

    def test_only_what_lives_in_namespaces_gets_one(self, cluster: Cluster) -> None:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
        assert handler(cluster).check("n", {}, space) == space

    def test_a_kind_that_is_not_there_yet_is_taken_as_it_is(self, cluster: Cluster) -> None:
        gadget = {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}}
        assert handler(cluster).check("g", {}, gadget) == gadget

    def test_what_a_preview_does_not_know_is_left_alone(self, cluster: Cluster) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": UNKNOWN, "namespace": "default"}}
        checked = handler(cluster).check("s", {}, {**secret, "stringData": {"a": UNKNOWN, "b": "x"}})
        assert checked["data"] == {"a": UNKNOWN, "b": "eA=="}
        checked = handler(cluster).check("s", {}, {**secret, "stringData": UNKNOWN, "data": {"a": "eA=="}})
        assert checked["data"] == UNKNOWN
        assert handler(cluster).check("s", {}, {**CONFIG_MAP, "metadata": UNKNOWN})["metadata"] == UNKNOWN

    def test_generated_names_are_refused(self, cluster: Cluster) -> None:
        with pytest.raises(PluginError, match=r"^c: metadata\.generateName cannot be applied"):
            handler(cluster).check("c", {}, {**CONFIG_MAP, "metadata": {"generateName": "c-"}})


class TestPreview:
    @pytest.mark.parametrize(
        ("manifest", "told"),
        [
            (config_map("Bad_Name"), "a lowercase RFC 1123 subdomain must consist of"),
            (config_map("c", dota={"a": "1"}), ".dota: field not declared in schema"),
            (config_map("c", data={"a": 1}), ".data.a: expected string"),
        ],
    )
    def test_it_tells_what_the_api_server_would_refuse(
        self, cluster: Cluster, manifest: dict[str, Any], told: str
    ) -> None:
        with pytest.raises(ApiError) as refused:
            handler(cluster).create(manifest, 1, preview=True)
        assert told in str(refused.value)

    def test_it_changes_nothing_and_forgives_what_comes_first(self, cluster: Cluster, server: ApiServer) -> None:
        there = handler(cluster)
        manifest = config_map("previewed")
        assert there.create(manifest, 1, preview=True).outputs == manifest
        assert server.get("configmap", "previewed") is None
        manifest["metadata"]["namespace"] = "not-yet"
        there.create(manifest, 1, preview=True)
        there.create({**manifest, "kind": "NotYet"}, 1, preview=True)


class TestCreateAndRead:
    def test_a_kind_that_nothing_installs_is_named(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(objects, "KIND_SECONDS", 0.1)
        gadget = {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": "default"}}
        there = handler(cluster)
        with pytest.raises(NoSuchKindError, match=r"^the cluster has no kind Gadget of example.com/v1: is its CRD"):
            there.create(gadget, 1, preview=False)
        # With its kind an object is gone, too.
        assert there.read("", "default/g", gadget) is None
        there.delete(gadget, 1)

    def test_an_object_of_somebody_else_is_refused_or_adopted(self, cluster: Cluster, server: ApiServer) -> None:
        server.apply(config_map("theirs", data={"a": "1"}))
        ours = config_map("theirs", data={"a": "1"})
        with pytest.raises(PluginError, match=r"^ConfigMap default/theirs already exists, not of this stack"):
            handler(cluster).create(ours, 1, preview=False)
        assert handler(cluster, "upsertExistingObjects").create(ours, 1, preview=False).id == "default/theirs"

    @pytest.mark.parametrize(
        ("annotation", "value", "awaited"), [("skipAwait", "true", False), ("waitFor", "jsonpath={.kind}=Job", True)]
    )
    def test_skipping_the_wait_for_a_job_skips_its_deletions_too(
        self, cluster: Cluster, server: ApiServer, annotation: str, value: str, awaited: bool
    ) -> None:
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}
        name = f"held-{annotation.lower()}"
        metadata = {"name": name, "namespace": "default", "annotations": {f"pulumi.com/{annotation}": value}}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}
        there = handler(cluster)
        there.create(job, 1, preview=False)
        server.kubectl("patch", "job", name, "--type=merge", '--patch={"metadata":{"finalizers":["example.com/held"]}}')
        if awaited:
            with pytest.raises(PluginError, match=rf"^Job default/{name} was not gone within 0 s: finalizers .*/held"):
                there.delete(job, 0.1)
        else:
            there.delete(job, 0.1)
        with pytest.raises(PluginError, match=rf"^Job default/{name} is still being deleted"):
            there.create(job, 1, preview=False)
        server.kubectl("patch", "job", name, "--type=merge", '--patch={"metadata":{"finalizers":null}}')

    def test_an_import_reads_what_others_declared(self, cluster: Cluster, server: ApiServer) -> None:
        server.apply(config_map("foreign", data={"a": "1"}))
        seen = handler(cluster).read("kubernetes:core/v1:ConfigMap", "default/foreign", {})
        assert seen
        assert seen.inputs["data"] == {"a": "1"}
        assert set(seen.inputs["metadata"]) == {"name", "namespace", "annotations"}
        assert handler(cluster).read("kubernetes:apps/v1:Deployment", "default/foreign", {}) is None

    def test_drift_in_an_immutable_field_is_seen(self, cluster: Cluster, server: ApiServer) -> None:
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "theirs"}]}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "drifted", "namespace": "default"},
            "spec": {"template": {"spec": pod}},
        }
        server.apply(job)
        ours = json.loads(json.dumps(job).replace("theirs", "ours"))
        seen = handler(cluster).read("", "default/drifted", ours)
        assert seen
        assert seen.inputs == job


class TestKubeconfig:
    def test_it_names_the_file_and_the_context(self, server: ApiServer) -> None:
        with pytest.raises(KubeconfigError, match=rf"^the kubeconfig {server.kubeconfig} gives no context nowhere: "):
            kubeconfig.load(str(server.kubeconfig), "nowhere")

    @pytest.mark.parametrize("text", ["", "no: [yaml", "apiVersion: v1\nkind: Config\n"])
    def test_what_is_none_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "config").write_text(text)
        with pytest.raises(KubeconfigError, match=rf"^the kubeconfig {tmp_path}/config gives no context \(current\): "):
            kubeconfig.load(str(tmp_path / "config"), None)

    def test_content_does_as_well_as_paths(self, server: ApiServer) -> None:
        access = kubeconfig.load(server.kubeconfig.read_text(), None)
        assert (access.context, access.namespace, access.server) == (CONTEXT, "default", server.url)
        with access.as_file() as path:
            assert kubeconfig.load(path, CONTEXT).token == server.token
            assert Path(path).stat().st_mode & 0o077 == 0

    def test_logging_in_by_a_program_is_refused(self, tmp_path: Path, server: ApiServer) -> None:
        text = server.kubeconfig.read_text()
        login = "exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: Never}"
        (tmp_path / "config").write_text(text.replace(f"token: {server.token}", login))
        with pytest.raises(KubeconfigError, match="logs in by a program"):
            kubeconfig.load(str(tmp_path / "config"), None)


@contextmanager
def answering(*answers: tuple[int, bytes, bool]) -> Iterator[tuple[Cluster, list[str]]]:
    """Serve one (status, body, close silently afterwards) after the other; yield a client and the paths asked."""
    asked: list[str] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            status, body, closes = left.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = closes

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"http://127.0.0.1:{http.server_address[1]}"
            cluster = Cluster(Access({}, CONTEXT, "default", url, None, None))
            yield cluster, asked
            cluster.close()
        finally:
            http.shutdown()
            thread.join()


class TestClient:
    def test_a_connection_that_was_closed_meanwhile_is_opened_again(self) -> None:
        with answering((200, b'{"n": 1}', True), (200, b'{"n": 2}', True)) as (cluster, asked):
            assert [cluster.request("GET", "/a")["n"], cluster.request("GET", "/b")["n"]] == [1, 2]
            assert asked == ["/a", "/b"]

    def test_a_busy_server_is_asked_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "PAUSES", (0.01, 0.01))
        with answering((429, b"later", False), (503, b"{}", False), (200, b'{"n": 3}', True)) as (cluster, asked):
            assert cluster.request("GET", "/a") == {"n": 3}
            assert asked == ["/a"] * 3

    def test_what_is_no_json_is_told_as_it_is(self) -> None:
        with answering((404, b"404 page not found\n", True)) as (cluster, _):
            with pytest.raises(ApiError, match=r"^404 page not found$") as refused:
                cluster.request("GET", "/a")
            assert refused.value.code == 404

    def test_a_server_that_never_answers_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            cluster = Cluster(Access({}, CONTEXT, "default", url, None, None))
            with pytest.raises(
                UnreachableError, match=rf"^the API server {url} \(context loopback\) does not answer: "
            ):
                cluster.request("GET", "/a")
