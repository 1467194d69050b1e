"""Promtool and Prometheus, as the tests of rules and dashboard use them."""
