"""Options of object stores: the names that pylance has, as those of fsspec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# pylance's names for S3, each with or without "aws_" before it; those of s3fs go through as they are.
_S3 = {
    "access_key_id": "key",
    "secret_access_key": "secret",
    "session_token": "token",
    "endpoint": "endpoint_url",
    "endpoint_url": "endpoint_url",
    "skip_signature": "anon",
    "region": "region_name",
    "default_region": "region_name",
    "virtual_hosted_style_request": "addressing_style",
}
# Nothing to do: the scheme of the endpoint says it.
_DROPPED = frozenset({"allow_http"})


def as_fsspec(scheme: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as fsspec's filesystem for a scheme takes them; those that are not pylance's stay as they are."""
    if scheme not in ("s3", "s3a"):
        return dict(options)
    found: dict[str, Any] = {}
    for name, value in options.items():
        plain = name.lower().removeprefix("aws_")
        known = _S3.get(plain)
        if known == "region_name":
            found["client_kwargs"] = {**options.get("client_kwargs", {}), "region_name": value}
        elif known == "addressing_style":
            style = "virtual" if _is_true(value) else "path"
            config = options.get("config_kwargs", {})
            found["config_kwargs"] = {**config, "s3": {**config.get("s3", {}), "addressing_style": style}}
        elif known == "anon":
            found["anon"] = _is_true(value)
        elif plain not in _DROPPED:
            found.setdefault(known or name, value)
    return found


def _is_true(value: Any) -> bool:
    return str(value).lower() in ("true", "1", "yes", "on")


__all__ = ["as_fsspec"]
