"""What `make check` runs beside the unit tests: it needs Git, make, Go and the small tools, or starts real processes.

The small tools are those of `SMALL` in `workbench/toolchain/tools.py`. The other folders of `integration` need the
cluster's tools as well (kube-apiserver, pulumi, Prometheus …), Debian's programs, or root for namespaces.
"""
