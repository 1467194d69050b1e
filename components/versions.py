"""Every chart and image that the stack deploys, pinned once.

The evaluation image is not here: in Git (`k8s/evalchemy-job.yaml`) CI writes it.
"""

from typing import Final

# renovate: datasource=helm depName=argo-cd registryUrl=https://argoproj.github.io/argo-helm
ARGOCD_CHART: Final = "10.1.1"
ARGOCD_CHART_REPOSITORY: Final = "https://argoproj.github.io/argo-helm"

# Chart 10.1.1 would bring v3.4.4. The end-to-end suite runs the version below, so that is what is deployed.
# renovate: datasource=github-releases depName=argoproj/argo-cd
ARGOCD_IMAGE: Final = "quay.io/argoproj/argocd"
ARGOCD_VERSION: Final = "v3.6.1"

# Debian's release, which the end-to-end suite runs. Renovate does not raise it.
# renovate: datasource=docker depName=docker.io/prom/pushgateway
PUSHGATEWAY_IMAGE: Final = "docker.io/prom/pushgateway:v1.5.1"
