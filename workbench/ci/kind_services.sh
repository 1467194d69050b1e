#!/usr/bin/env bash
# Installs into the cluster of the kubeconfig context $1 what the stack expects to find in any cluster:
# Prometheus Operator with Prometheus and Alertmanager. The release is called sandbox because the stack `local`
# labels its rules `release: sandbox`.
set -euo pipefail

# renovate: datasource=helm depName=kube-prometheus-stack registryUrl=https://prometheus-community.github.io/helm-charts
version=88.5.3

helm upgrade --install sandbox kube-prometheus-stack \
    --repo https://prometheus-community.github.io/helm-charts --version "$version" \
    --kube-context "$1" --namespace monitoring --create-namespace \
    --set grafana.enabled=false --wait --timeout 10m
