"""Pulumi's Python language host, which no package registry carries; an official one is used where it is installed."""
