"""Brings the stack to a cluster, whichever it is, and follows its evaluation there. Knows nothing of the sandbox."""
