import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ioto_async.emulator.state.pki import Authority
from tests.rows import each_row


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


def load(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def test_a_device_certificate_is_signed_by_the_authority(authority: Authority) -> None:
    certificate = load(authority.issue("DEV0000001")[0])
    certificate.verify_directly_issued_by(load(authority.certificate))


def test_a_device_certificate_names_the_device_and_serves_clients_only(authority: Authority) -> None:
    certificate = load(authority.issue("DEV0000001")[0])
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "DEV0000001"
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_device_key_is_p256_and_fits_its_certificate(authority: Authority) -> None:
    certificate, key = authority.issue("DEV0000001")
    private = serialization.load_pem_private_key(key.encode(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP256R1)
    assert private.public_key() == load(certificate).public_key()


def test_every_certificate_has_its_own_key_and_serial_number(authority: Authority) -> None:
    issued = [load(authority.issue("DEV0000001")[0]) for _ in range(20)]
    assert len({certificate.serial_number for certificate in issued}) == 20
    keys = {
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest for certificate in issued
    }
    assert len(keys) == 20


@each_row("serial", (1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 2**158, 2**159 - 1))
def test_every_serial_number_is_written_as_it_is(authority: Authority, serial: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(x509, "random_serial_number", lambda: serial)
        pem, _ = authority.issue("DEV0000001")
    assert load(pem).serial_number == serial


@each_row("length", (1, 37, 64))
def test_every_claim_id_fits_a_certificate(authority: Authority, length: int) -> None:
    certificate = load(authority.issue("D" * length)[0])
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "D" * length
    certificate.verify_directly_issued_by(load(authority.certificate))


@each_row(
    "now",
    (
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2049, 12, 31, tzinfo=UTC),
        datetime(2050, 1, 1, 0, 5, tzinfo=UTC),
    ),
)
def test_a_certificate_begins_five_minutes_before_the_time_of_the_cloud(now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a long life")])
    issuer = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(1990, 1, 1), datetime(2090, 1, 1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    authority = Authority(issuer.public_bytes(encoding).decode(), pem.decode(), now.timestamp)
    certificate = load(authority.issue("DEV0000001")[0])
    assert certificate.not_valid_before_utc == now - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == issuer.not_valid_after_utc
    certificate.verify_directly_issued_by(issuer)


def test_a_certificate_is_valid_now_and_not_beyond_its_issuer(authority: Authority) -> None:
    now = datetime.now(UTC)
    for pem in (authority.issue("DEV0000001")[0], authority.issue_server(["localhost"])[0]):
        certificate = load(pem)
        assert certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - timedelta(days=30)
        assert certificate.not_valid_after_utc <= load(authority.certificate).not_valid_after_utc


def test_key_identifiers_link_a_certificate_to_its_issuer(authority: Authority) -> None:
    issuer = load(authority.certificate).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    extensions = load(authority.issue("DEV0000001")[0]).extensions
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == issuer.digest
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest != issuer.digest


def test_a_server_certificate_passes_strict_verification_for_each_host(authority: Authority) -> None:
    certificate = load(authority.issue_server(["localhost", "127.0.0.1", "::1"])[0])
    builder = verification.PolicyBuilder().store(verification.Store([load(authority.certificate)]))
    builder.build_server_verifier(x509.DNSName("localhost")).verify(certificate, [])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_an_authority_lives_on_in_its_pem_texts(authority: Authority) -> None:
    again = Authority(authority.certificate, authority.key)
    load(again.issue("DEV0000001")[0]).verify_directly_issued_by(load(authority.certificate))


def test_the_ca_file_is_good_for_the_ssl_module(authority: Authority) -> None:
    context = ssl.create_default_context(cadata=authority.certificate)
    assert len(context.get_ca_certs()) == 1
