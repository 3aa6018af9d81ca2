"""Where the server is, and how it is reached."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
import grpc.aio

from .errors import SettingsError

ADDRESS = "127.0.0.1:50051"
_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/\s]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Settings:
    """One server."""

    address: str
    token: str = field(repr=False)
    ca: bytes | None = field(default=None, repr=False)
    debug: bool = False
    """Whether the log has the traceback of what a tool raises, which may quote anything."""

    def channel(self) -> grpc.aio.Channel:
        """A connection: TLS, but to this machine itself, unless an authority is named."""
        options: list[tuple[str, object]] = [
            # A connection that failed before would make this one wait, by a backoff of its own.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.primary_user_agent", "proactive-worker"),
        ]
        loopback = _is_loopback(self.address)
        if loopback:
            # A proxy has a loopback of its own.
            options.append(("grpc.enable_http_proxy", 0))
        if loopback and self.ca is None:
            return grpc.aio.insecure_channel(self.address, options)
        return grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(self.ca), options)


def settings_from(
    address: str | None = None, token: str | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """From arguments, else PROACTIVE_ADDR, PROACTIVE_SERVICE_TOKEN, PROACTIVE_CA and
    PROACTIVE_WORKER_DEBUG.

    SettingsError says all that is wrong, and never what the token is.
    """
    wrong = []
    address = address or environment.get("PROACTIVE_ADDR") or ADDRESS
    matched = _HOST_PORT.fullmatch(address)
    if not matched or not 1 <= int(matched["port"]) <= 65535:
        wrong.append(f"PROACTIVE_ADDR: {address!r} is not HOST:PORT")
    token = (token or environment.get("PROACTIVE_SERVICE_TOKEN") or "").strip()
    if not token:
        wrong.append("PROACTIVE_SERVICE_TOKEN: is missing; a worker needs a service token")
    elif not re.fullmatch(r"[\x21-\x7e]+", token):
        wrong.append("PROACTIVE_SERVICE_TOKEN: has characters that no token has")
    ca = None
    if path := environment.get("PROACTIVE_CA"):
        try:
            with open(path, "rb") as file:
                ca = file.read()
        except OSError as error:
            wrong.append(f"PROACTIVE_CA: {path}: {error.strerror}")
        else:
            if b"-----BEGIN CERTIFICATE-----" not in ca:
                wrong.append(f"PROACTIVE_CA: {path}: has no certificate (PEM)")
    if wrong:
        raise SettingsError("; ".join(wrong))
    debug = environment.get("PROACTIVE_WORKER_DEBUG") == "1"
    return Settings(address, token, ca, debug)


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
