"""Writes ``docs/operations.md`` and ``docs/assumptions.md`` from their tables.

Run it after a change of a table or of a method: ``python docs/generate.py``. A test fails while a page is stale, and
runs every example.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ioto_async.conformance import ASSUMPTIONS, Assumption, Check
from ioto_async.emulator.otherwise import OTHERWISE
from ioto_async.operations import BUILDER, IOTO, MQTT, Field, Operation

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "operations.md"
ASSUMED: Final = ROOT / "docs" / "assumptions.md"

EXAMPLES: Final = {
    "account/close": "await client.account.close(account_id)",
    "account/create": 'await client.account.create("carol@example.com", "Example Inc")',
    "account/find": 'await client.account.find(email="ann@example.com")',
    "account/get": "await client.account.get(id=account_id)",
    "account/updateIdentity": 'await client.account.update_identity(id=account_id, name="Example Ltd")',
    "action/find": "await client.action.find(cloud_id)",
    "action/get": 'await client.action.get(cloud_id, "metric")',
    "action/invoke": 'await client.action.invoke("Alert", context={"message": "too hot", "deviceId": device_id})',
    "alert/find": "[alert async for alert in client.alert.find(limit=50)]",
    "alert/get": "await client.alert.get(alert_id)",
    "alert/remove": "await client.alert.remove(alert_id)",
    "alert/update": "await client.alert.update(alert_id, resolved=True)",
    "dashboard/create": 'await client.dashboard.create("Main", widgets=[Widget(type="gauge", metric="temperature")])',
    "dashboard/find": "await client.dashboard.find()",
    "dashboard/get": "await client.dashboard.get(dashboard_id)",
    "dashboard/remove": "await client.dashboard.remove(dashboard_id)",
    "dashboard/update": 'await client.dashboard.update(dashboard_id, range=Range(period=86400), layout="grid")',
    "device/claim": "await client.device.claim(new_device_id)",
    "device/find": "[device async for device in client.device.find(limit=50)]",
    "device/get": "await client.device.get(device_id)",
    "device/getCreds": "await client.device.get_creds()",
    "device/getSignedUrl": 'await client.device.get_signed_url(id=device_id, command="get", filename="log.txt")',
    "device/provision": "await client.device.provision(device_id)",
    "device/release": "await client.device.release(device_id)",
    "device/remove": "await client.device.remove(device_id)",
    "file/get": 'await client.file.get("notes.txt")',
    "file/getSignedUrl": 'await client.file.get_signed_url(command="get", filename="notes.txt")',
    "file/list": "[file async for file in client.file.list()]",
    "file/put": 'await client.file.put("notes.txt", b"hello", mime_type="text/plain")',
    "file/remove": 'await client.file.remove("notes.txt")',
    "generic/create": 'await client.generic.create("Log", {"message": "started"}, device_id=device_id)',
    "generic/find": 'await client.generic.find("Store", device_id=device_id)',
    "generic/get": 'await client.generic.get("Store", {"key": "speed"}, device_id=device_id)',
    "generic/remove": 'await client.generic.remove("Store", {"key": "speed"}, device_id=device_id)',
    "generic/update": 'await client.generic.update("Store", {"key": "speed", "value": 3}, device_id=device_id)',
    "manager/get": "await client.manager.get()",
    "manager/getSignedUrl": 'await client.manager.get_signed_url(command="get", filename="index.html")',
    "manager/provision": "await client.manager.provision(manager_id)",
    "manager/update": 'await client.manager.update(manager_id, title="Our devices")',
    "manager/updateDisplay": 'await client.manager.update_display(manager_id, display="{}")',
    "metric/fetch": 'await client.metric.fetch(device_id, [MetricQuery("temperature", {"Device": device_id})])',
    "metric/getDeviceSchema": "await client.metric.get_device_schema()",
    "metric/getMetricList": 'await client.metric.get_metric_list(cloud_id, namespace="Embedthis/Device")',
    "provision/checkin": "await client.provision.checkin(device_id)",
    "provision/getCerts": "await client.provision.get_certs(device_id)",
    "provision/getCreds": "await client.provision.get_creds()",
    "provision/update": 'await client.provision.update(device_id, product, "1.0.0")',
    "provision/updateReport": "await client.provision.update_report(device_id, update, success=True)",
    "test/ping": "await client.test.ping()",
    "user/create": 'await client.user.create("bob@example.com", "admin", send_invite=True)',
    "user/find": "await client.user.find()",
    "user/get": "await client.user.get(id=user_id)",
    "user/getRoles": "await client.user.get_roles()",
    "user/login": "await signed_in.user.login()",
    "user/remove": "await client.user.remove(id=user_id)",
    "user/update": 'await client.user.update(id=user_id, first="Ann")',
    "user/updateRole": 'await client.user.update_role(user_id, "admin")',
    "builder device/claim": "await client.builder.device.claim(new_device_id, cloud_token, account_id)",
    "builder device/find": "await client.builder.device.find()",
    "builder device/get": "await client.builder.device.get(device_id)",
    "builder device/lookup": "await client.builder.device.lookup(product)",
    "builder device/register": "await client.builder.device.register(new_device_id, product)",
    "builder device/release": "await client.builder.device.release(device_id)",
    "builder device/remove": "await client.builder.device.remove(new_device_id)",
    "builder device/removeAll": "await client.builder.device.remove_all(product)",
    "builder metric/fetch": 'await client.builder.metric.fetch([MetricQuery("temperature")])',
    "builder test/echo": 'await client.builder.test.echo({"hello": "there"})',
    "builder test/empty": "await client.builder.test.empty()",
    "builder test/exception": "await client.builder.test.exception(retries=0)",
    "builder test/success": "await client.builder.test.success()",
}
"""An example of each operation. What they take as given is set up by the test that runs them."""

COMPOSED: Final = {
    "store.find": ("`generic/find` on the model Store", "[item async for item in client.store.find(device_id)]"),
    "store.get": ("`generic/get` on the model Store", 'await client.store.get(device_id, "speed")'),
    "store.remove": ("`generic/remove` on the model Store", 'await client.store.remove(device_id, "speed")'),
    "store.set": ("`generic/update?exists=` on the model Store", 'await client.store.set(device_id, "speed", 3)'),
    "device.upload": (
        "`device/getSignedUrl`, then a PUT to that URL",
        'await client.device.upload("log.txt", b"started", id=device_id)',
    ),
    "device.download": (
        "`device/getSignedUrl`, then a GET from that URL",
        'await client.device.download("log.txt", path, id=device_id)',
    ),
    "file.upload": (
        "`file/getSignedUrl`, then a PUT to that URL",
        'await client.file.upload("notes.txt", b"hello")',
    ),
    "file.download": (
        "`file/getSignedUrl`, then a GET from that URL",
        'await client.file.download("notes.txt", path)',
    ),
    "manager.upload": (
        "`manager/getSignedUrl`, then a PUT to that URL",
        'await client.manager.upload("index.html", b"<html>")',
    ),
    "manager.download": (
        "`manager/getSignedUrl`, then a GET from that URL",
        'await client.manager.download("index.html", path)',
    ),
    "metric.series": (
        "`metric/fetch` for one metric; calls for the metrics of a device that are made at the same time share it",
        'await client.metric.series(device_id, "temperature", period=timedelta(days=1))',
    ),
    "metric.value": (
        "`metric/fetch` for one value; calls for the values of a device that are made at the same time share it",
        'await client.metric.value(device_id, "temperature", statistic="max", period=timedelta(days=1))',
    ),
    "metric.fetch_many": (
        "`metric/fetch` for each of many devices, many at once",
        """query = MetricQuery("temperature", {"Device": "${deviceId}"})
[outcome async for outcome in client.metric.fetch_many([device_id], [query])]""",
    ),
    "metric.walk": (
        "`metric/getMetricList` for the namespaces, for the metrics of each, and for the dimensions of each",
        "[key async for key in client.metric.walk(cloud_id)]",
    ),
    "metric.writer": (
        "`action/invoke` for each sample, many at once; with another `via`, writes of Generic or what a device sends",
        """async with client.metric.writer(via="automation", name="MetricSample") as writer:
    await writer.write("temperature", 21.5, dimensions={"Device": device_id})""",
    ),
    "provision.fetch_update": (
        "`provision/update`, a GET from the URL of the offer, your `install`, `provision/updateReport`",
        'await client.provision.fetch_update(device_id, product, "1.0.0", path)',
    ),
}
"""What the methods do that are no operation of their own, and an example of each."""

INFERRED: Final = (
    *("alert/", "dashboard/", "user/"),
    *("device/claim", "device/release", "device/remove", "file/put"),
)
"""The operations, or whole controllers, whose tables leave out the ``accountId`` of owners that most calls take."""

NOT_OFFERED: Final = {
    "dashboard/create": "a reply of one record has no pages",
    "dashboard/update": "a reply of one record has no pages",
}
"""Why methods do not take the documented members of a query."""

_INTRODUCTION: Final = """# Operations

Every documented operation of the API, with the method that calls it. This page is written by `docs/generate.py` from
the table of operations (`ioto_async/operations.py`); a test keeps it true and runs the examples.

In the examples `client` is an `IotoClient`, and `signed_in` one with the login of a user. Any operation can be called
by its path as well: `await client.call("device/get", {"id": device_id})`, or
`ioto-async call device/get id=M72DANY8BZ`.

**Role** is what the caller needs: `public` < `user` < `admin` < `owner`, or a capability (`device`, `upgrade`,
`claimDevice`, `releaseDevice`, `view`, `edit`). **Class** says what a second delivery of the request would do, and so
which failures are retried:

| class | a second delivery | sent again after |
| --- | --- | --- |
| `read` | changes nothing | no delivery, a refusal without work (429, 503 with Retry-After), a 5xx, a lost reply |
| `replayable` | sets the same state again | the same |
| `once` | would do it twice | no delivery, a refusal without work; else `OutcomeUnknownError` |

Members of bodies and query strings are named as on the wire; methods take them in snake case. Required ones are in
bold, and a role behind a member says that only callers of that role may send it. `…` stands for members of your own.
*inferred* marks the `accountId` of operations whose documents leave it out: an owner's token has to say in most calls
which account it acts for.

Members that are not documented travel as they are in `call` and in the open bodies. The embedded cloud accepts and
ignores them, in bodies and in query strings, where it does not store the body as it is: real devices send some.
"""


def page() -> str:
    """Return the text of ``docs/operations.md``."""
    parts = [_INTRODUCTION, "## All operations\n", summary()]
    for title, prefix, table in (("Device cloud", "", IOTO), ("Builder", "builder ", BUILDER)):
        parts.append(f"## {title}\n")
        for controller, rows in _by_controller(table.values()):
            parts.append(f"### {prefix}{controller}\n")
            parts.extend(_section(row, prefix) for row in rows)
    parts.append("## Composed methods\n")
    parts.append("These are no operations of their own, but do what is written here:\n")
    for name, (what, example) in COMPOSED.items():
        parts.append(f"### `client.{name}`\n\n{what[0].upper()}{what[1:]}.\n\n```python\n{example}\n```\n")
    parts.append("## Over MQTT only\n")
    parts.append(
        "Devices call these over MQTT. They have no HTTP form: `call` and the methods of `metric` raise"
        " `MqttOnlyError`, which names the way to do it. `client.store.get` and `client.store.set` do it already: they"
        " are calls of Generic.\n"
    )
    parts.extend(f"- `{row.name}` (role {row.role}, {row.kind.value}): use {row.instead}" for row in MQTT.values())
    return "\n".join(parts) + "\n"


def summary() -> str:
    """Return the table of all operations, one a line."""
    lines = ["| operation | method | role | class |", "| --- | --- | --- | --- |"]
    for prefix, table in (("", IOTO), ("builder ", BUILDER)):
        lines.extend(_line(row, prefix, "legacy" if row.instead else "") for row in table.values())
    for row in MQTT.values():
        if _dotted(row) in COMPOSED:
            generic = IOTO[row.instead.partition(" ")[0]]
            lines.append(_line(row, "", f"over {generic.name}", generic))
        else:
            lines.append(_line(row, "", "MQTT only"))
    return "\n".join(lines) + "\n"


def _line(row: Operation, prefix: str, note: str, by: Operation | None = None) -> str:
    name = f"{prefix}{row.name}" + (f" ({note})" if note else "")
    called = method(row, prefix)
    shown = f"`{called}`" if note == "MQTT only" else f"[`{called}`](#{called.replace('.', '')})"
    by = by or row
    return f"| {name} | {shown} | {by.role} | {by.kind.value} |"


def method(row: Operation, prefix: str = "") -> str:
    """Return how the method of *row* is reached, such as ``client.device.get_creds``."""
    return f"client.{prefix.strip() + '.' if prefix else ''}{_dotted(row)}"


def _dotted(row: Operation) -> str:
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), row.name.replace("/", "."))


def _by_controller(rows: Iterable[Operation]) -> Iterator[tuple[str, list[Operation]]]:
    controllers: dict[str, list[Operation]] = {}
    for row in rows:
        controllers.setdefault(row.name.partition("/")[0], []).append(row)
    return iter(controllers.items())


def _section(row: Operation, prefix: str) -> str:
    lines = [
        f"#### `{method(row, prefix)}`\n",
        f"`POST /{row.name}`, role **{row.role}**, class **{row.kind.value}**, reply: {row.reply.value}.",
    ]
    if row.instead:
        lines.append(f"Legacy: use {row.instead}.")
    inferred = not prefix and row.name.startswith(INFERRED)
    members = [_member(field, inferred=inferred and field.name == "accountId") for field in row.body]
    members += ["…"] * row.open
    if members:
        lines.append(f"Body: {', '.join(members)}.")
    if row.query:
        reason = NOT_OFFERED.get(row.name)
        note = f"; documented, but not offered by the method: {reason}" if reason else ""
        lines.append(f"Query: {', '.join(map(_member, row.query))}{note}.")
    lines.append(f"\n```python\n{EXAMPLES[prefix + row.name]}\n```\n")
    return "\n".join(lines)


def _member(field: Field, *, inferred: bool = False) -> str:
    name = f"**{field.name}**" if field.required else field.name
    notes = [note for note in (field.type, field.role, "*inferred*" if inferred else None) if note and note != "string"]
    return f"{name} ({', '.join(notes)})" if notes else name


_ASSUMED: Final = """# Assumptions

What no document of the service settles, or where documents contradict each other, is an assumption here: in the client,
and in the embedded cloud. This page has all of them. It is written by `docs/generate.py` from the table in
`ioto_async/conformance/`, and a test keeps it true. A number always means the same assumption.

`ioto-async doctor --conformance` tells which of them hold at a cloud of yours ([conformance.md](conformance.md)).
What it takes to check one is under **check**:

| check | what it does |
| --- | --- |
| read-only | changes nothing, and names no device |
| read-only, of a device | changes nothing, and asks about a device that you have named (`--device`) |
| writing | writes to the account, and removes that again (`--write`) |
| writing, of a device | writes about a device that you have named, and removes that again (`--write --device`) |

**Otherwise** is what the embedded cloud does with `ioto-async emulator --otherwise NUMBER` or
`Emulator(otherwise=["NUMBER"])`, so that code can be tried on a cloud that does not do as it is assumed to. The client
reads most of these replies as well.

*Reference, section …* means the fact sheet that this package was written from, which sums up the vendor's documents of
2023 to 2025, the device agent 3.0.0, the updater 1.2.0 and the libraries of the service.
"""


def assumptions() -> str:
    """Return the text of ``docs/assumptions.md``."""
    parts = [_ASSUMED]
    group = ""
    for assumption in ASSUMPTIONS.values():
        if assumption.group != group:
            group = assumption.group
            parts.append(f"## {group}\n")
        parts.append(_assumption(assumption))
    return "\n".join(parts)


def _assumption(assumption: Assumption) -> str:
    possible = assumption.check is not Check.NONE
    check = assumption.check.value if possible else f"none. {assumption.why_not}"
    rows = {
        "source": assumption.source,
        "wrong if": assumption.wrong_if,
        "client": _named("", assumption.client),
        "embedded cloud": _named("emulator.", assumption.emulator),
        "check": check,
    }
    if possible:
        rows["otherwise"] = OTHERWISE[assumption.number]
    lines = [f"### {assumption.number}\n", f"{assumption.says}\n"]
    lines += [f"- {name}: {text}" for name, text in rows.items()]
    return "\n".join(lines) + "\n"


def _named(prefix: str, names: Iterable[str]) -> str:
    return ", ".join(f"`{prefix}{name}`" for name in names)


if __name__ == "__main__":
    ASSUMED.write_text(assumptions(), "utf-8")
    PAGE.write_text(page(), "utf-8")
