"""A chart named argo-cd, made from the manifests in Argo CD's own Go module.

The argo-helm repository is in no package registry. This chart honours the
values that the stack sets (`global.image`, `configs.cm`, `configs.params`) and
leaves out what the stack switches off (Dex, notifications, ApplicationSets).
"""

import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from workbench.toolchain.tools import module_source, version

Manifest = dict[str, Any]

LEFT_OUT: Final = ("applicationset", "dex", "notifications")
CRD: Final = "CustomResourceDefinition"
IMAGE: Final = "{{ .Values.global.image.repository }}:{{ .Values.global.image.tag }}"
CHECKSUM: Final = "{{ .Values.configs | toJson | sha256sum }}"
REDIS_IMAGE: Final = "docker.io/library/redis:sandbox"

# ConfigMaps that values fill, as in argo-helm.
FROM_VALUES: Final = {"argocd-cm": "cm", "argocd-cmd-params-cm": "params", "argocd-rbac-cm": "rbac"}

# Upstream's container makes this with a program that the sandbox's image lacks.
REDIS_AUTH: Final = """\
{{- $old := lookup "v1" "Secret" .Release.Namespace "argocd-redis" }}
apiVersion: v1
kind: Secret
metadata:
  name: argocd-redis
data:
  auth: {{ if $old }}{{ index $old.data "auth" }}{{ else }}{{ randAlphaNum 24 | b64enc }}{{ end }}
"""
# argo-helm turns every value into a string, since a ConfigMap takes nothing else.
DATA: Final = """\
data:
{{- range $key, $value := .Values.configs.@group@ }}
  {{ $key | quote }}: {{ $value | toString | quote }}
{{- end }}
"""


def write(folder: Path) -> Path:
    """Write the chart as `folder`/argo-cd and return that path."""
    chart = folder / "argo-cd"
    shutil.rmtree(chart, ignore_errors=True)
    (chart / "templates").mkdir(parents=True)
    released = version("argocd")
    about = {"apiVersion": "v2", "name": "argo-cd", "version": released, "appVersion": f"v{released}"}
    image = {"repository": "quay.io/argoproj/argocd", "tag": f"v{released}"}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    (chart / "values.yaml").write_text(yaml.safe_dump({"global": {"image": image}, "configs": {}}))
    (chart / "templates/redis-secret.yaml").write_text(REDIS_AUTH)
    manifests = yaml.safe_load_all((module_source("argocd") / "manifests/install.yaml").read_text())
    for number, manifest in enumerate(manifests):
        if manifest["kind"] == CRD or not any(part in manifest["metadata"]["name"] for part in LEFT_OUT):
            (chart / f"templates/{number:02}-{manifest['kind'].lower()}.yaml").write_text(_template(manifest))
    return chart


def _template(manifest: Manifest) -> str:
    name = manifest["metadata"]["name"]
    if manifest["kind"] == CRD:
        # A user's Applications must outlive a reinstallation, as with argo-helm.
        manifest["metadata"].setdefault("annotations", {})["helm.sh/resource-policy"] = "keep"
        return _escape(yaml.safe_dump(manifest))
    if manifest["kind"] == "ConfigMap" and name in FROM_VALUES:
        values = DATA.replace("@group@", FROM_VALUES[name])
        return _escape(yaml.safe_dump({key: manifest[key] for key in manifest if key != "data"})) + values
    if "template" not in manifest.get("spec", {}):
        return _escape(yaml.safe_dump(manifest))
    pod = manifest["spec"]["template"]["spec"]
    pod["initContainers"] = [each for each in pod.get("initContainers", []) if each["name"] != "secret-init"]
    for container in pod["initContainers"] + pod["containers"]:
        redis = "redis" in container["image"]
        container["image"] = REDIS_IMAGE if redis else "@image@"
        container["imagePullPolicy"] = "IfNotPresent"
    # Argo CD reads most of its settings once: changed values must restart it.
    manifest["spec"]["template"]["metadata"]["annotations"] = {"checksum/values": "@values@"}
    return _escape(yaml.safe_dump(manifest)).replace("@values@", CHECKSUM).replace("@image@", IMAGE)


def _escape(text: str) -> str:
    """Keep helm from reading a manifest's own braces as a template."""
    return text.replace("{{", "{{ `{{` }}")
