"""Exact references: what the best schedule is, or can not be better than."""
