"""The certificate authority of the embedded cloud: real X.509 on EC P-256."""

import ipaddress
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Self, cast

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
        return self._clock() > self._issuer.not_valid_after_utc.timestamp()

    def issue(self, device_id: str) -> tuple[str, str]:
        """Make a client certificate, CN = *device_id*, and its private key: (certificate, key).

        It lasts as long as the authority does, as those of AWS IoT outlive every device.

        Raises:
            Refused: the authority has ended.
        """
        if self.has_ended():
            raise Refused("The certificate authority of the cloud has expired")
        start = _EPOCH + timedelta(seconds=self._clock())
        return self._issue(device_id, ExtendedKeyUsageOID.CLIENT_AUTH, None, start, self._issuer.not_valid_after_utc)

    def issue_server(self, hosts: Iterable[str]) -> tuple[str, str]:
        """Make a certificate for the server at *hosts* (names or addresses) and its key: (certificate, key).

        Its dates are real ones, as clients check them by clocks of their own.
        """
        names = [_general_name(host) for host in hosts]
        start = datetime.now(UTC)
        end = min(start + _SERVER_LIFE, self._issuer.not_valid_after_utc)
        return self._issue("localhost", ExtendedKeyUsageOID.SERVER_AUTH, names, start, end)

    def _issue(
        self,
        name: str,
        purpose: x509.ObjectIdentifier,
        hosts: list[x509.GeneralName] | None,
        start: datetime,
        end: datetime,
    ) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(name), self._issuer.subject, key.public_key(), start - _SKEW, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certifies=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(self._key_identifier, critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256())), _key_pem(key)


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
