"""The TLS of a device link: client certificate, trust and ALPN."""

import contextlib
import os
import ssl
import tempfile
from pathlib import Path
from typing import Final, TypeAlias

from ..errors import InvalidArgumentError
from ..models.provision import Certificates
from ..settings import Secret

__all__ = ["Trust", "make_context"]

_ALPN: Final = "x-amzn-mqtt-ca"
"""Tells AWS IoT on port 443 that MQTT with a client certificate follows."""

_LONGEST_NAME: Final = 150
"""Characters; the shortest keys that AWS IoT takes have some more."""

Trust: TypeAlias = str | os.PathLike[str] | ssl.SSLContext | None
"""Who vouches for the broker: PEM text, the path of a PEM file, or a context whose authorities are taken over."""


def make_context(certs: Certificates, ca: Trust) -> ssl.SSLContext:
    """Make the context of a link; blocks, as it reads files.

    Args:
        certs: have ``certificate`` and ``key``.
        ca: None for the system's trust store.

    Raises:
        InvalidArgumentError: *certs* or *ca* cannot be used; the text shows nothing of their content.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols([_ALPN])
    _trust(context, ca)
    assert certs.certificate is not None  # both have been looked at
    assert certs.key is not None
    if "ENCRYPTED" in certs.key:  # in the first line of PKCS 8, or a header of older forms
        raise InvalidArgumentError(
            "certs: the key is encrypted: decrypt it, such as by `openssl pkey -in key.pem -out decrypted.pem`"
        )
    _load_key(context, Secret(f"{certs.certificate.strip()}\n{certs.key.strip()}\n"))
    return context


def _trust(context: ssl.SSLContext, ca: Trust) -> None:
    try:
        if ca is None:
            context.load_default_certs()
        elif isinstance(ca, ssl.SSLContext):
            # Not used itself: the certificate of one device must not get into a context that others share.
            context.load_verify_locations(cadata=b"".join(ca.get_ca_certs(binary_form=True)))
        elif isinstance(ca, str) and "-----BEGIN" in ca:
            context.load_verify_locations(cadata=ca)
        else:
            context.load_verify_locations(cafile=Path(ca))
    except (OSError, ValueError, TypeError) as error:
        # Of an error of the ssl module the text is OpenSSL's, which quotes nothing.
        raise InvalidArgumentError(
            f"ca: no certificates of authorities could be read from {_shown(ca)}: {error}"
        ) from None


def _shown(ca: Trust) -> str:
    if isinstance(ca, os.PathLike):
        return f"the file {os.fspath(ca)!r}"
    if not isinstance(ca, str):
        return type(ca).__name__
    if "-----BEGIN" in ca:
        return "the PEM text"
    # A key by mistake, without its first line or without any lines, is shown nowhere.
    is_name = "\n" not in ca and len(ca) <= _LONGEST_NAME
    return f"the file {ca!r}" if is_name else "a text that is neither PEM nor the name of a file"


def _load_key(context: ssl.SSLContext, pem: Secret) -> None:
    # The ssl module takes a private key from a file alone. mkstemp makes one that nobody else may open.
    descriptor, path = tempfile.mkstemp(prefix="ioto-")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(pem)
        context.load_cert_chain(path, password="")  # an encrypted key is refused instead of asked for at the terminal
    except (ssl.SSLError, UnicodeEncodeError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not PEM text"
        raise InvalidArgumentError(f"certs: certificate and key cannot be used: {reason}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
