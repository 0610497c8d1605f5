"""Parity: suites run by plain pytest in an environment, and by the plugin; then compared."""
