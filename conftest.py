"""For the whole repository: plugins that the tests of plugins need."""

pytest_plugins = ["pytester"]
