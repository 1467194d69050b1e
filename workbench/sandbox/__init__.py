"""A single-node Kubernetes on this machine, from package registries alone.

It owns the cluster and everything that production has outside the stack (a
registry, a builder, a git server, Prometheus, a served model), and runs the
Pulumi program as its users do. Of `components` it imports only `labels` (the
names of the cluster's objects), and nothing of `vllm_eval`; import-linter checks
this.
"""
