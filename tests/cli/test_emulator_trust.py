"""Which certificates are trusted in the environment of ``ioto-async emulator --env`` and ``--exec``."""

from pathlib import Path

import pytest

from ioto_async.cli.emulator.shell import environment
from ioto_async.emulator import Emulator

VARIABLES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")


async def test_the_cloud_is_trusted_from_any_folder_and_whatever_was_trusted_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Emulator(db="cloud.db", tls=True, mqtt=False) as emulator:
        before = dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"), "/etc/ssl/certs/other.pem")
        variables = environment(emulator, before)
    own = str(tmp_path / "cloud.db.ca.pem")
    assert {name: variables.get(name) for name in VARIABLES} == {
        "SSL_CERT_FILE": own,
        "NODE_EXTRA_CA_CERTS": own,
        "CURL_CA_BUNDLE": own,
        "REQUESTS_CA_BUNDLE": None,
        "AWS_CA_BUNDLE": own,
    }
    assert Path(own).is_file()
