"""``ioto-async doctor`` and ``ioto-async whoami``."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...client import IotoClient
from ...errors import CallError, CassetteError, InvalidArgumentError
from ...settings import check_text
from ..options import FLAG, JsonFlag, Texts, parse_duration, use_api
from .identity import Identity, act_for, identify
from .printing import lines_of, summary_of
from .results import CheckResult, Report
from .running import diagnose
from .target import Target

__all__ = ["doctor", "whoami"]


async def doctor(
    *,
    api: str | None = None,
    account: str | None = None,
    product: str | None = None,
    certs: Path | None = None,
    device: Texts = (),
    limit: Annotated[str | None, Parameter(name="--timeout")] = None,
    conformance: Annotated[bool, FLAG] = False,
    write: Annotated[bool, FLAG] = False,
    only: Texts = (),
    rate: str | None = None,
    report: Path | None = None,
    as_json: JsonFlag = False,
) -> int:
    """Check whether this machine can use an Ioto cloud, and say how to fix what it finds.

    It checks the endpoint, the proxy, DNS, TCP, TLS, the service and its clock, the token, its role and account, the
    Builder and the MQTT endpoint. It changes nothing (what --write writes is removed again) and prints no secret. The
    exit status is 0 if no check fails.

    Args:
        api: base URL of the device cloud; IOTO_API by default.
        account: account to check; IOTO_ACCOUNT by default.
        product: product token to check with the Builder; IOTO_PRODUCT by default.
        certs: folder of a device, as fleet provision writes it, to connect as that device, which ends the device's own
            connection; or with --device, the folder of the fleet.
        device: ID of the device in the folder of a fleet. With --conformance, a device that checks may query and, with
            --write, change; may be given several times.
        limit: how long each check may take, such as 10s or 1m; 10s by default, and 1m with --conformance.
        conformance: test instead which assumptions of this package hold at the cloud (docs/conformance.md). Without
            --write and --device, it changes nothing and queries no device.
        write: with --conformance, let checks write; they remove what they have written, also when interrupted.
        only: with --conformance, the number of an assumption to check, such as A18; may be given several times.
        rate: with --conformance, the highest rate of requests; 2/s by default.
        report: with --conformance, file for a report that you can send: Markdown, or JSON if the name ends with .json.
            It has no secrets, and identifiers are masked.
        as_json: print one JSON object: ok, warning, failed, skipped, settings, checks; with --conformance the report.
    """
    if conformance:
        if certs is not None:
            raise InvalidArgumentError("--certs: expected no --conformance beside it")
        from .conformance import Conformance  # most runs are without

        use_api(api)
        return await Conformance(
            write=write,
            devices=device,
            only=only,
            rate=rate or "2/s",
            limit=parse_duration("--timeout", limit or "1m"),
            report=report,
            as_json=as_json,
        ).run(Target.from_env(account=account))
    for option, value in {"--write": write, "--only": only, "--rate": rate, "--report": report}.items():
        if value:
            raise InvalidArgumentError(f"{option}: expected --conformance beside it")
    if device and certs is None:
        raise InvalidArgumentError("--device: expected --certs or --conformance beside it")
    if len(device) > 1:
        raise InvalidArgumentError("--device: expected one device with --certs")
    target = Target.from_env(api=api, account=account, product=product, certs=certs, device=next(iter(device), None))
    seconds = parse_duration("--timeout", limit or "10s")
    result = await diagnose(target, limit=seconds, on_result=None if as_json else _print)
    if as_json:
        sys.stdout.write(json.dumps(result.to_dict()) + "\n")
    else:
        _print_end(target, result)
    return result.exit_status


def _print(result: CheckResult) -> None:
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    sys.stdout.write("".join(f"{line}\n" for line in lines_of(result, colour=colour)))
    sys.stdout.flush()


def _print_end(target: Target, report: Report) -> None:
    lines = [
        f"  {target.named(name):<17}{setting.shown}{' (default)' * target.is_default(name)}"
        for name, setting in report.settings.items()
        if setting.source is not None
    ]
    sys.stdout.write("\n".join(["", "Settings:", *lines, "", summary_of(report)]) + "\n")


async def whoami(*, api: str | None = None, as_json: JsonFlag = False) -> None:
    """Print who you are to the cloud: endpoint, kind of token, role, account and user.

    Args:
        api: base URL of the device cloud; IOTO_API by default.
        as_json: print one JSON object: endpoint, token, role, account_id, account_name, user_id, user_email.
    """
    use_api(api)
    target = Target.from_env()
    environ = {name: value for name, value in target.environ.items() if name != "IOTO_ACCOUNT"}
    async with IotoClient(environ=environ, trust_env=True) as client:
        try:
            identity = await _identify(client, target)
            if (account := target["account"]) is not None:
                source = "IOTO_ACCOUNT"
                identity = await act_for(client, identity, check_text(source, str(account)), source=source)
        except (CallError, InvalidArgumentError) as error:
            error.add_note("ioto-async doctor says what to do")
            raise
    if as_json:
        sys.stdout.write(json.dumps(identity.to_dict()) + "\n")
        return
    sys.stdout.write("".join(f"{line}\n" for line in _lines(identity)))


async def _identify(client: IotoClient, target: Target) -> Identity:
    endpoint, is_login = target.settings["api"].shown, target["token"] is None
    try:
        return await identify(client, endpoint=endpoint, is_login=is_login)
    except CassetteError:
        if not is_login or target["cognito"] is not None:
            raise
        # A replay needs no credentials; which ones were recorded shows by the calls.
        return await identify(client, endpoint=endpoint, is_login=False)


def _lines(identity: Identity) -> list[str]:
    members = identity.to_dict()
    account = members["account_id"]
    if account is None:
        account = "none of several: set IOTO_ACCOUNT" if len(identity.accounts or ()) > 1 else "not known"
    elif members["account_name"] is not None:
        account = f"{account} ({members['account_name']})"
    shown = {
        "endpoint": members["endpoint"] or "not known",
        "token": members["token"],
        "role": members["role"],
        "account": account,
        "user": members["user_email"] or members["user_id"] or "none",
    }
    return [f"{name:<10}{value}" for name, value in shown.items()]
