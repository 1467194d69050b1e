"""The stack's components, one concern each; `program.py` wires them."""
