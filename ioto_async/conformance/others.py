"""The other assumptions: on automations, alerts, dashboards and apps, on MQTT, the Builder and connections."""

from collections.abc import Iterator

from .assumption import Assumption, Check

__all__ = ["others"]

READ, WRITE, NONE = Check.READ, Check.WRITE, Check.NONE


def others() -> Iterator[Assumption]:
    """Yield the assumptions on automations, alerts, pages and apps, on MQTT, the Builder and connections."""
    group = "Automations, alerts, dashboards, apps"
    yield Assumption(
        "A83",
        group,
        "An unknown automation is refused; one that fails answers with `error` in a 200.",
        "The device agent looks for `error` in a 200; what an unknown name gets is not documented.",
        "`action/invoke` of an unknown name is answered with 200",
        ("controllers.action.ActionController.invoke", "errors.InBandError"),
        ("rest.handlers.action.invoke",),
        WRITE,
    )
    yield Assumption(
        "A84",
        group,
        "Automations are run by `action/invoke`; there is no `trigger/invoke`.",
        "A page names `/tok/trigger/invoke`; its example and the device agent use `/tok/action/invoke`.",
        "`trigger/invoke` is answered as `action/invoke` is, and not as an unknown operation",
        ("operations.IOTO",),
        ("rest.handlers.action.invoke",),
        WRITE,
    )
    yield Assumption(
        "A85",
        group,
        "Alerts of one account, automation, severity, subject and device are of one kind, and count up until they are"
        " resolved.",
        "The table calls `seq` a fingerprint, and does not say of what.",
        "two of one kind are two alerts, or two of different devices are one",
        ("models.Alert",),
        ("state.alerts.Alerts.add",),
        NONE,
        "It takes an automation of type alert that may be run.",
    )
    yield Assumption(
        "A86",
        group,
        "`dashboard/find` is answered with a page of dashboards.",
        "The table has one record; its twin of the Builder has a page.",
        "it is answered with a record",
        ("controllers.dashboard.DashboardController.find", "codec.decoding.paged"),
        ("rest.handlers.dashboard.find",),
        READ,
    )
    yield Assumption(
        "A87",
        group,
        "`manager/get` without `id` is answered with the device app of the cloud.",
        "`id` is not marked as required.",
        "it is refused",
        ("controllers.manager.ManagerController.get",),
        ("rest.handlers.manager.get",),
        READ,
    )
    group = "MQTT"
    reason = "It takes the place of the device, whose own connection would end."
    yield Assumption(
        "A88",
        group,
        "Devices connect to AWS IoT Core with TLS, their certificate, the claim ID as client ID, and ALPN"
        " `x-amzn-mqtt-ca` at port 443.",
        "The device agent.",
        "a link is refused",
        ("mqtt.tls", "mqtt.connection"),
        ("mqtt.broker.Broker", "mqtt.service.CloudService.authorize"),
        NONE,
        reason,
    )
    yield Assumption(
        "A89",
        group,
        "`metric/get` and `store/get` are answered with the bare value, on the topic of the device with its number.",
        "The device agent; the pages have a page of metrics, and a record.",
        "the payload is a record, or comes on another topic",
        ("mqtt.payloads", "mqtt.link.DeviceLink"),
        ("mqtt.handlers.metric.get", "mqtt.handlers.store.get"),
        NONE,
        reason,
    )
    yield Assumption(
        "A90",
        group,
        "What is not there is answered with an empty payload.",
        "Not documented.",
        "it is answered with something else, or not at all",
        ("mqtt.payloads",),
        ("mqtt.call.DeviceCall.reply",),
        NONE,
        reason,
    )
    yield Assumption(
        "A91",
        group,
        "A change by a device is acknowledged on `sync/SYNC` if it was applied; an older one is dropped, and the newer"
        " item sent back.",
        "The device agent does so with what the cloud sends.",
        "an older change wins, or is not acknowledged",
        ("mqtt.events",),
        ("mqtt.handlers.db.sync_to_dynamo",),
        NONE,
        reason,
    )
    yield Assumption(
        "A92",
        group,
        "The cloud notes in the item Device whether a device is connected.",
        "The agent writes `offline` on a release, and never `online`.",
        "`connection` stays as it is",
        ("controllers.generic.GenericController.get",),
        ("mqtt.service.CloudService.note_presence",),
        NONE,
        reason,
    )
    yield Assumption(
        "A93",
        group,
        "A sample whose acknowledgement was lost counts twice if it is sent again.",
        "QoS 1 of MQTT; the service counts what comes.",
        "it counts once",
        ("mqtt.outbox",),
        ("mqtt.handlers.metric.set",),
        NONE,
        reason,
    )
    group = "The Builder"
    reason = "The check has no business at the Builder of the vendor."
    yield Assumption(
        "A94",
        group,
        "`metric/fetch` of the Builder nests the answers, and dates all points in milliseconds.",
        "The page of the Builder.",
        "the answers are not nested, or dated in seconds",
        ("controllers.builder.BuilderMetricController", "codec.elements.Elements"),
        ("rest.handlers.builder.metric.fetch",),
        NONE,
        reason,
    )
    yield Assumption(
        "A95",
        group,
        "`device/removeAll` forgets claimed devices as well.",
        "Its name; the page says that a single device is to be released first.",
        "claimed devices are left",
        ("controllers.builder.BuilderDeviceController.remove_all",),
        ("rest.handlers.builder.device.remove_all",),
        NONE,
        reason,
    )
    group = "Delivery"
    yield Assumption(
        "A96",
        group,
        "Operations that set a state by its key may be sent again after a lost reply: claim, release, provision,"
        " updates, removes.",
        "What each does. Claim and release are documented as not idempotent, but a second one is refused or changes"
        " nothing.",
        "a second delivery does something twice",
        ("operations.Kind", "transport.retry"),
        ("rest.handlers",),
        NONE,
        "Where a second delivery can be seen, another assumption has it.",
    )
    yield Assumption(
        "A97",
        group,
        "The service keeps an idle connection longer than the client does.",
        "Gateways of AWS do.",
        "requests are lost that go out on a connection which has been idle",
        ("transport.pool",),
        ("rest.plain.Connection",),
        NONE,
        "It takes longer than a check may.",
    )
