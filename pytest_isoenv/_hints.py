"""What to do about an installer's failure, where its words give it away."""

from __future__ import annotations

#: What to do where requirements contradict each other.
LOOSEN = "loosen one of the requirements named above, or give this environment another Python"
#: What to do where no index answers.
NETWORK = "check the network and the index (UV_DEFAULT_INDEX, PIP_INDEX_URL), then run again"
# What installers say of a failure -> what to do about it; the first that fits counts.
_HINTS = (
    (
        ("no space left on device", "os error 28", "disk quota exceeded"),
        "make room on the disk that it names: isoenv prune does so in the cache",
    ),
    (
        ("authentication credentials", "401 unauthorized", "401 error", "403 forbidden"),
        "give the index its credentials: UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD for an "
        "index called NAME, a netrc file, or a keyring (UV_KEYRING_PROVIDER)",
    ),
    (
        ("no solution found", "no matching distribution found"),
        LOOSEN,
    ),
    (
        ("hash mismatch", "do not match the hashes"),
        "a file is not the one that was locked: lock again (isoenv lock) if you trust the index",
    ),
    (
        ("error sending request", "dns error", "failed to fetch", "could not connect"),
        NETWORK,
    ),
    (
        ("failed to build", "build backend"),
        "see what the build says above; a wheel for this Python, or a compiler, may be missing",
    ),
)


def hint(output: str) -> str:
    """What to do about an installer's failure, where its words give it away."""
    text = output.lower()
    return next((words for signs, words in _HINTS if any(sign in text for sign in signs)), "")
