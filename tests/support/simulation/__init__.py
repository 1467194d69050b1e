"""Histories of scores, made up with known truth, and what alert rules make of them."""
