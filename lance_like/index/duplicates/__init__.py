"""Duplicates: which rows are alike."""
