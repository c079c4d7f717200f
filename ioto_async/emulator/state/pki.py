"""The certificate authority of the embedded cloud: real X.509 on EC P-256."""

import hashlib
import ipaddress
import ssl
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, Self, cast

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..request import Refused

__all__ = ["Authority"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LIFE: Final = timedelta(days=3650)
_SERVER_LIFE: Final = timedelta(days=397)
# For peers whose clock is a little behind.
_SKEW: Final = timedelta(minutes=5)
_NAME: Final = "Ioto embedded cloud CA"

# The tags of DER, and the object identifier of a common name.
_INTEGER: Final = 0x02
_BIT_STRING: Final = 0x03
_UTF8_STRING: Final = 0x0C
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_COMMON_NAME: Final = bytes.fromhex("0603550403")


class Authority:
    """Issues certificates for devices and for the server. All PEM is text.

    Args:
        certificate: its own certificate.
        key: the private key.
        clock: gives the time of the cloud in epoch seconds.
    """

    def __init__(self, certificate: str, key: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.certificate = certificate
        self._issuer = x509.load_pem_x509_certificate(certificate.encode())
        self._key = cast("ec.EllipticCurvePrivateKey", serialization.load_pem_private_key(key.encode(), password=None))
        self._end = self._issuer.not_valid_after_utc
        self._key_identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            self._issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        )

    @classmethod
    def create(cls) -> Self:
        """Make a new authority, valid for ten years from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            _builder(_name(_NAME), _name(_NAME), key.public_key(), now - _SKEW, now + _LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certifies=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(_pem(certificate), _key_pem(key))

    @property
    def key(self) -> str:
        """The private key, to be stored with the certificate."""
        return _key_pem(self._key)

    def has_ended(self) -> bool:
        """Say whether it is not valid any more by the clock of the cloud, and with it all device certificates."""
        return self._clock() > self._end.timestamp()

    def issue(self, device_id: str) -> tuple[str, str]:
        """Make a client certificate, CN = *device_id*, and its private key: (certificate, key).

        It lasts as long as the authority does, as those of AWS IoT outlive every device.

        Raises:
            Refused: the authority has ended.
        """
        if self.has_ended():
            raise Refused("The certificate authority of the cloud has expired")
        key = ec.generate_private_key(ec.SECP256R1())
        start = _EPOCH + timedelta(seconds=self._clock()) - _SKEW
        return self._template.certificate(device_id, key, start, self._key), _key_pem(key)

    @cached_property
    def _template(self) -> "_Template":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(_NAME, key.public_key(), ExtendedKeyUsageOID.CLIENT_AUTH, None, _EPOCH, self._end)
        return _Template.of(certificate, key.public_key())

    def issue_server(self, hosts: Iterable[str]) -> tuple[str, str]:
        """Make a certificate for the server at *hosts* (names or addresses) and its key: (certificate, key).

        Its dates are real ones, as clients check them by clocks of their own.
        """
        names = [_general_name(host) for host in hosts]
        start = datetime.now(UTC)
        end = min(start + _SERVER_LIFE, self._end)
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH
        return _pem(self._signed("localhost", key.public_key(), purpose, names, start - _SKEW, end)), _key_pem(key)

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        purpose: x509.ObjectIdentifier,
        hosts: list[x509.GeneralName] | None,
        start: datetime,
        end: datetime,
    ) -> x509.Certificate:
        builder = (
            _builder(_name(name), self._issuer.subject, key, start, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certifies=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(self._key_identifier, critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@attrs.frozen
class _Template:
    """A certificate, of which others are made: parts of its DER, in their order.

    To build each of them anew would take three times as long.
    """

    version: bytes
    algorithm: bytes
    issuer: bytes
    end: bytes
    key: bytes
    extensions: bytes
    point: bytes
    """The public key, as it is in ``key``."""
    identifier: bytes
    """The identifier of the public key, as it is in ``extensions``."""

    @classmethod
    def of(cls, certificate: x509.Certificate, key: ec.EllipticCurvePublicKey) -> Self:
        """Take a *certificate* of *key* apart."""
        (body,) = _parts(certificate.tbs_certificate_bytes)
        version, _, algorithm, issuer, validity, _, public, extensions = _parts(_content(body))
        _, end = _parts(_content(validity))
        point = _point(key)
        return cls(version, algorithm, issuer, end, public, extensions, point, _identifier(point))

    def certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, start: datetime, signer: ec.EllipticCurvePrivateKey
    ) -> str:
        """Make the certificate of *key*, PEM, with a serial number of its own: CN = *name*, valid from *start*."""
        serial = x509.random_serial_number()
        point = _point(key.public_key())
        body = _der(
            _SEQUENCE,
            self.version,
            _der(_INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1, "big")),
            self.algorithm,
            self.issuer,
            _der(_SEQUENCE, _date(start), self.end),
            _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _COMMON_NAME, _der(_UTF8_STRING, name.encode())))),
            self.key.replace(self.point, point),
            self.extensions.replace(self.identifier, _identifier(point)),
        )
        signature = signer.sign(body, ec.ECDSA(hashes.SHA256()))
        return ssl.DER_cert_to_PEM_cert(_der(_SEQUENCE, body, self.algorithm, _der(_BIT_STRING, b"\0", signature)))


def _der(tag: int, *parts: bytes) -> bytes:
    """An element of DER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _parts(der: bytes) -> list[bytes]:
    """The elements that follow one another in *der*."""
    parts = []
    while der:
        _, end = _extent(der)
        parts.append(der[:end])
        der = der[end:]
    return parts


def _content(der: bytes) -> bytes:
    """What is in an element."""
    start, end = _extent(der)
    return der[start:end]


def _extent(der: bytes) -> tuple[int, int]:
    """Where the content of the first element of *der* starts and ends."""
    size = der[1]
    if size < 0x80:
        return 2, 2 + size
    start = 2 + (size & 0x7F)
    return start, start + int.from_bytes(der[2:start], "big")


def _date(date: datetime) -> bytes:
    if date.year < 2050:
        return _der(_UTC_TIME, date.strftime("%y%m%d%H%M%SZ").encode())
    return _der(_GENERALIZED_TIME, date.strftime("%Y%m%d%H%M%SZ").encode())


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _identifier(point: bytes) -> bytes:
    return hashlib.sha1(point, usedforsecurity=False).digest()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, certifies: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certifies,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=certifies,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
