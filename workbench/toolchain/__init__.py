"""The pinned tools: `modules/` says which, one Go module a tool, and `tools.py` builds them into the cache."""
