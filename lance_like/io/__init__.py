"""Stores of bytes and the driver of reads. Nothing here knows what the bytes mean."""
