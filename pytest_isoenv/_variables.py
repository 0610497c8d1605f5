"""Which of the host's variables a process gets to see: lists, and pure functions over them."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping

# Variables of the host that must not reach a process of another environment: they would put the
# host's packages on its path, or speak of a pytest run that is not the worker's.
HOST_ONLY = frozenset(
    {
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONEXECUTABLE",
        "__PYVENV_LAUNCHER__",
        "PYTHONUSERBASE",
        "VIRTUAL_ENV",
        "VIRTUAL_ENV_PROMPT",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "PYTEST_CURRENT_TEST",
        "COVERAGE_PROCESS_CONFIG",
        "COVERAGE_PROCESS_START",
        "PYTEST_VERSION",
    }
)

# What reaches a process of another environment even where only chosen variables do. Without the
# first it does not start, or does not know where it is; by the others pytest, what measures it and
# what reports it were told how to do so, just as on the command line.
ALWAYS = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TEMP",
    "TMP",
    "TZ",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LD_LIBRARY_PATH",
    "DYLD_*LIBRARY_PATH",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "NUMBER_OF_PROCESSORS",
    "PROCESSOR_ARCHITECTURE",
    "PYTEST_*",
    "COVERAGE_*",
    "CI",
    "BUILD_NUMBER",
    "TERM",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "PY_COLORS",
)

# What an installer may know of the host. Everything else is withheld: a UV_RESOLUTION or PIP_PRE
# set in one shell would change what an environment is without a trace in its key.
FOR_INSTALLERS = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "SYSTEMROOT",
        "COMSPEC",
        "PATHEXT",
        "TMPDIR",
        "TEMP",
        "TMP",
        "LANG",
        "LC_ALL",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "GIT_SSH_COMMAND",
        "SSH_AUTH_SOCK",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "NETRC",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "CC",
        "CXX",
        "CFLAGS",
        "CXXFLAGS",
        "LDFLAGS",
        "PKG_CONFIG_PATH",
        "MAMBA_ROOT_PREFIX",
        "CONDA_PKGS_DIRS",
        "RATTLER_AUTH_FILE",
        "RATTLER_CACHE_DIR",
        "PIP_CACHE_DIR",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_KEYRING_PROVIDER",
        "PIP_NO_INDEX",
        "PIP_PROXY",
        "PIP_RETRIES",
        "PIP_TIMEOUT",
        "PIP_TRUSTED_HOST",
        "UV_CACHE_DIR",
        "UV_CONCURRENT_BUILDS",
        "UV_CONCURRENT_DOWNLOADS",
        "UV_CONCURRENT_INSTALLS",
        "UV_DEFAULT_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_HTTP_CONNECT_TIMEOUT",
        "UV_HTTP_RETRIES",
        "UV_HTTP_TIMEOUT",
        "UV_INDEX",
        "UV_INDEX_URL",
        "UV_INSECURE_HOST",
        "UV_KEYRING_PROVIDER",
        "UV_LINK_MODE",
        "UV_NATIVE_TLS",
        "UV_OFFLINE",
        "UV_PYPY_INSTALL_MIRROR",
        "UV_PYTHON_CACHE_DIR",
        "UV_PYTHON_DOWNLOADS",
        "UV_PYTHON_DOWNLOADS_JSON_URL",
        "UV_PYTHON_INSTALL_DIR",
        "UV_PYTHON_INSTALL_MIRROR",
        "UV_SYSTEM_CERTS",
    }
)
INSTALLER_PREFIXES = ("UV_INDEX_", "CONDA_OVERRIDE_")


def for_environments(
    environ: Mapping[str, str], patterns: Collection[str] | None = None
) -> dict[str, str]:
    """What a process in an environment sees: everything but what is the host's own.

    Where ``patterns`` are given, only what fits one of these names and globs, and :data:`ALWAYS`.
    """
    wanted = None if patterns is None else (*ALWAYS, *patterns)
    return {
        name: value
        for name, value in environ.items()
        if name not in HOST_ONLY and (wanted is None or _fits(name, wanted))
    }


def _fits(name: str, patterns: Collection[str]) -> bool:
    # As the system compares names: on Windows their case does not count.
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def for_installers(environ: Mapping[str, str]) -> dict[str, str]:
    """What an installer sees: where packages come from, and how to get them."""
    return {
        name: value
        for name, value in environ.items()
        if name.upper() in FOR_INSTALLERS or name.startswith(INSTALLER_PREFIXES)
    }
