import logging

import pytest

from ioto_async.emulator import Emulator

from .tables import each_row_after_reset


def register(emu: Emulator) -> None:
    emu.cloud.register_device("DEV0000001")


@each_row_after_reset("number", [1, 2], before=register)
def test_a_row_begins_with_a_cloud_that_was_reset_and_prepared(emu: Emulator, number: int) -> None:
    # A device that is not registered or already claimed is refused.
    emu.cloud.claim_device("DEV0000001")


@each_row_after_reset("number", [1, 2])
def test_a_row_begins_with_an_empty_log(emu: Emulator, caplog: pytest.LogCaptureFixture, number: int) -> None:
    assert caplog.messages == []
    logging.getLogger(__name__).warning("row %d", number)
