import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ioto_async.emulator.state.pki import Authority


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
