"""Deploys the stack to any cluster and follows the evaluation there: needs, selectors, state, scores.

Knows nothing of the sandbox, which uses this package.
"""
