"""The stack's components, one concern each; `__main__.py` wires them."""
