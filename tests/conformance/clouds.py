"""Clouds for the checks: what is in them, and how the checks are run."""

from collections.abc import Collection, Iterable

from ioto_async.conformance import Assumption, Check, Run, Verdict
from ioto_async.emulator import Emulator

__all__ = ["DEVICE", "numbers", "run_of", "seeded", "with_verdict"]

DEVICE, OTHER = "DEV0000001", "DEV0000002"


def seeded(emulator: Emulator, differences: Iterable[str] = ()) -> None:
    """Begin anew, with what the checks need to tell anything: two devices, and a sample of one."""
    emulator.reset()
    cloud = emulator.cloud
    cloud.differences = frozenset(differences)
    for device in (DEVICE, OTHER):
        cloud.register_device(device, version="1.0.0")
        cloud.claim_device(device)
    with cloud.lock:
        engine = cloud.metrics.engine(cloud.account_id)
        engine.emit("Embedthis/Device", "temperature", 21.5, [{"Device": DEVICE}], timestamp=cloud.now())


def run_of(
    emulator: Emulator, *, write: bool = True, devices: tuple[str, ...] = (DEVICE,), only: Collection[str] = ()
) -> Run:
    return Run(environ=emulator.env, write=write, devices=devices, only=only, rate=1e6)


def with_verdict(run: Run, verdict: Verdict) -> dict[str, str]:
    return {number: each.text for number, each in run.report.findings.items() if each.verdict is verdict}


def numbers(assumptions: Iterable[Assumption], *checks: Check) -> set[str]:
    return {each.number for each in assumptions if each.check in checks}
