"""Bridges to other libraries, one module each; every bridge uses the public `Dataset` interface only."""
