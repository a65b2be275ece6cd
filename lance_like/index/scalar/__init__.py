"""Scalar indexes: which rows pass a condition on one column."""
