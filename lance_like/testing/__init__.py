"""What those who extend the package test their work with: suites for pytest, to be subclassed."""
