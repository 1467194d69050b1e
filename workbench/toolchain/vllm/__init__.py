"""vLLM for CPUs and a small real model, in the cache: `provide.py` makes both, `serve.py` starts a server."""
