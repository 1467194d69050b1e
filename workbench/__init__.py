"""Tools around the product: a cluster to deploy to, one of our own, the pinned tools, and what CI runs.

`cluster` serves any cluster, `sandbox` starts one on this machine, `toolchain`
builds the pinned tools, `ci` is what the workflows call. The product
(`components`, `monitoring`, `eval`) imports nothing of this.
"""
