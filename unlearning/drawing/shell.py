"""What every HTML page of the program shares: colours and letters, and texts from files that cannot become code."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from typing import TYPE_CHECKING, Any

from unlearning.errors import InputError

if TYPE_CHECKING:
    from markupsafe import Markup


def style() -> str:
    """Returns the style sheet that all pages begin with: colours of both themes, letters, and what has the focus."""
    return importlib.resources.files(__package__).joinpath("assets", "base.css").read_text(encoding="utf-8")


def embed(content: Any) -> Markup:
    r"""Returns JSON that cannot end the element it stands in, whatever texts it holds.

    Args:
        content: What JSON can hold, without NaN.

    Returns:
        ASCII without `<`, `>` and `&`, for a template.

    Example:
        >>> str(embed("</script>"))
        '"\\u003c/script\\u003e"'
    """
    from markupsafe import Markup

    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def policy(*scripts: str) -> str:
    """Returns a content security policy under which a page runs these scripts, and asks nobody for anything.

    Args:
        *scripts: The contents of the script elements.

    Returns:
        The value of the header `Content-Security-Policy`.

    Raises:
        InputError: If a script would end the element that it stands in.
    """
    for text in scripts:
        if "</script" in text.lower() or "\r" in text:
            raise InputError("This script cannot be embedded: it ends its own element, or its line ends change.")
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        "default-src 'none'; img-src data: blob:; font-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )
