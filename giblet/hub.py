"""Files of models on the Hugging Face hub: from the local cache first, and from the hub only if it answers at all.

The hub's own client asks for each file of a model, and tries each again and again for over a minute where there is no
network. One short request tells as much.
"""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""A model's name, with or without its owner; see :func:`is_hub_name`."""
PATIENCE = 4.0
"""Seconds to wait for the hub's first sign of life."""


def is_hub_name(name: str) -> bool:
    """Whether a model on the hub can be called so; a path such as ``./model`` is no name.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool

    Examples
    --------
    >>> [is_hub_name(name) for name in ("facebook/encodec_24khz", "./encodec", "models/a/b")]
    [True, False, False]
    """
    return HUB_NAME.fullmatch(name) is not None and not name.startswith(".")


def hub_file(name: str, filename: str, revision: str | None, local_only: bool) -> Path:
    """A file of a hub model, from the local hub cache or, unless `local_only`, the hub.

    Parameters
    ----------
    name : str
        Of the model, such as ``"facebook/encodec_24khz"``.
    filename : str
    revision : str or None
        Branch, tag or commit.
    local_only : bool
        Whether to look in the cache alone.

    Returns
    -------
    Path
        In the cache.

    Raises
    ------
    OSError
        If it is in neither.

    See Also
    --------
    unreachable : whether there is any use in asking the hub.
    """
    import transformers.utils  # here, as it takes a second

    path = transformers.utils.cached_file(name, filename, revision=revision, local_files_only=local_only)
    if path is None:
        raise FileNotFoundError(f"{name} has no {filename}: fetch the whole model, or name another")
    return Path(path)


def unreachable(name: str, filename: str, revision: str | None = None) -> str:
    """Why the hub cannot be asked for a file, or nothing if it can.

    Parameters
    ----------
    name : str
        Of the model.
    filename : str
    revision : str, optional
        Branch, tag or commit.

    Returns
    -------
    str
        Empty if it can.

    See Also
    --------
    hub_file : gets it.
    """
    import huggingface_hub.constants as hub

    if hub.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, so it cannot be downloaded"
    url = f"{hub.ENDPOINT}/{name}/resolve/{revision or 'main'}/{filename}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE):
            return ""
    except urllib.error.HTTPError:
        return ""  # it answers; what it thinks of this name, its own client asks and says
    except OSError as exc:
        reason = getattr(exc, "reason", exc)
        # The hub's own client brings certificates of its own.
        return "" if isinstance(reason, ssl.SSLError) else f"{hub.ENDPOINT} cannot be reached ({reason})"
