"""A single-node Kubernetes on this machine, from package registries alone.

It owns the cluster and everything that production has outside the stack (a
registry, a builder, a git server, Prometheus, a served model), and drives the
Pulumi program from outside. It deliberately knows nothing of the program's
insides: `components` and `vllm_eval` are not imported here.
"""
