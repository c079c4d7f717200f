"""The assumptions on what the operations do: accounts, devices, files, the database, metrics, automations."""

from collections.abc import Iterator

from .assumption import Assumption, Check

__all__ = ["accounts", "database", "devices", "files", "metrics"]

READ, DEVICE, WRITE, DEVICE_WRITE, NONE = Check


def accounts() -> Iterator[Assumption]:
    """Yield the assumptions on accounts, roles and users."""
    group = "Accounts and roles"
    yield Assumption(
        "A34",
        group,
        "With a CloudAPI token, `device/find` without `accountId` lists the devices of all accounts.",
        "The page says that the account is needed with such a token; not what happens without.",
        "it is refused",
        ("controllers.device.DeviceController.find",),
        ("rest.handlers.device.find", "rest.scope.account_of"),
        READ,
    )
    yield Assumption(
        "A35",
        group,
        "With a CloudAPI token, `generic/*` needs `accountId`, as the key of the item has it.",
        "The library refuses a key that lacks a member; an example of the documents leaves the account out.",
        "`generic/find` without an account is answered",
        ("controllers.generic.GenericController",),
        ("rest.scope.scope", "state.schema.Model"),
        READ,
    )
    yield Assumption(
        "A36",
        group,
        "`accountId` says for which account a CloudAPI token acts, also where the tables leave it out: claims,"
        " releases, alerts, dashboards, users, `file/put`.",
        "Inferred from the operations whose tables have it.",
        "`dashboard/find` for another account lists the dashboards of this one",
        ("operations.IOTO",),
        ("rest.scope.account_of", "rest.scope.named_account"),
        WRITE,
    )
    yield Assumption(
        "A37",
        group,
        "With a CloudAPI token, `account/get` needs `id` or `email`.",
        "Without, the page promises the account of the caller; such a token has none.",
        "it is answered with an account",
        ("controllers.account.AccountController.get",),
        ("rest.handlers.account.get",),
        READ,
    )
    yield Assumption(
        "A38",
        group,
        "A CloudAPI token has every role and capability: `owner`, `device`, `view`, `edit`, `upgrade`, `claimDevice`,"
        " `releaseDevice`.",
        "The updater calls `provision/update` with one. What it may do besides is documented nowhere.",
        "it is refused for its role, such as with `file/list`",
        ("operations.IOTO",),
        ("state.tokens.ROLES",),
        READ,
    )
    yield Assumption(
        "A39",
        group,
        "`user/getRoles` is answered with the capabilities of each role, a list by its name.",
        "An object, says the page, and nothing of its members.",
        "it is answered with something else",
        ("controllers.user.UserController.get_roles",),
        ("rest.handlers.user.get_roles",),
        READ,
    )
    yield Assumption(
        "A40",
        group,
        "A device token may call `action/invoke`.",
        "The device agent does, although the operation is documented for users.",
        "a device is refused with it",
        ("operations.IOTO",),
        ("state.tokens.allows",),
        NONE,
        "It takes a device token, and an automation that may be run.",
    )
    yield Assumption(
        "A41",
        group,
        "`user/login` makes an account for whoever is no user yet, unless `register` is false.",
        "Pages of September 2025, since `account/create` is gone.",
        "a sign-in without a user is refused, or `register: false` makes an account",
        ("controllers.user.UserController.login",),
        ("rest.handlers.user.login",),
        NONE,
        "It takes a sign-in of somebody new, and leaves an account.",
    )
    yield Assumption(
        "A42",
        group,
        "A user may view; an admin and an owner may also edit, claim, release and upgrade.",
        "The documents describe user, admin and owner in words; a cloud may have roles of its own.",
        "a user of another role is let through, or is not",
        ("operations.Operation",),
        ("state.tokens.ROLES",),
        NONE,
        "It takes sign-ins of users of every role.",
    )


def devices() -> Iterator[Assumption]:
    """Yield the assumptions on the life of devices."""
    group = "Devices"
    yield Assumption(
        "A43",
        group,
        "A second claim of a device is refused, whoever claims it, and changes nothing.",
        "Not documented. So a claim whose reply was lost may be sent again.",
        "a claim of a claimed device is answered with 200",
        ("operations.Kind", "controllers.device.DeviceController.claim"),
        ("state.devices.Devices.claim",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A44",
        group,
        "`device/claim` takes no `test`.",
        "The prose mentions test devices, the table has `id` alone.",
        "a device that was claimed with `test: true` is a test device",
        ("controllers.device.DeviceController.claim",),
        ("rest.handlers.device.claim",),
        NONE,
        "It would take the device away from its account first.",
    )
    yield Assumption(
        "A45",
        group,
        "A release is answered with the last record of the device, and ends its token and its certificate.",
        "The page says that the record is returned; the device agent starts over.",
        "the reply is another, or the token is still good",
        ("controllers.device.DeviceController.release",),
        ("state.cloud.Cloud.release_device",),
        NONE,
        "It would take the device away from its account.",
    )
    yield Assumption(
        "A46",
        group,
        "`device/provision` answers with the same certificate as long as the claim lasts.",
        "The operation is documented as idempotent, and the device agent repeats it.",
        "two calls are answered with two certificates",
        ("operations.Kind", "controllers.device.DeviceController.provision"),
        ("rest.handlers.device.provision",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A47",
        group,
        "`endpoint` of that reply is a host without a scheme, and `port` is a number.",
        "The device agent reads both; its log shows port 443.",
        "`endpoint` is a URL or has a port in it, or `port` is something else",
        ("models.Certificates", "mqtt.connection"),
        ("rest.handlers.device.provision",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A48",
        group,
        "A device that is blocked for its traffic is answered with `error` and `delay` in a 200.",
        "The device agent waits for `delay` seconds.",
        "a blocked device has another answer",
        ("codec.decoding.result", "errors.DeviceBlockedError"),
        ("rest.handlers.device.provision",),
        NONE,
        "It takes a device that is blocked.",
    )
    yield Assumption(
        "A49",
        group,
        "An update check that has nothing to install is answered with `message` and without `url`.",
        "Pages of 2025; earlier ones have no `message`.",
        "`message` is missing",
        ("controllers.provision.ProvisionController.update", "models.UpdateOffer"),
        ("rest.handlers.provision.update",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A50",
        group,
        "An update check goes by the product that the cloud knows of the device, whatever the request says.",
        "Tests of the updater.",
        "a check that names another product is refused",
        ("controllers.provision.ProvisionController.update",),
        ("rest.handlers.provision.update",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A51",
        group,
        "`checked` of a device is the version of its last update check.",
        "The table has the member, and does not spell out what it is.",
        "after a check it has another value",
        ("models.Device",),
        ("state.devices.Devices.check",),
        DEVICE_WRITE,
    )


def files() -> Iterator[Assumption]:
    """Yield the assumptions on files."""
    group = "Files"
    yield Assumption(
        "A52",
        group,
        "`file/list` is answered with a page of records that have a `filename`.",
        "The vendor has marked the reply as to be done.",
        "the page has something else, such as names alone",
        ("controllers.file.FileController.list", "models.File"),
        ("rest.handlers.file.list",),
        WRITE,
    )
    yield Assumption(
        "A53",
        group,
        "`file/put` is answered with the record of the file.",
        "The vendor has marked the reply as to be done.",
        "the reply has no `filename`",
        ("controllers.file.FileController.put",),
        ("rest.handlers.file.put",),
        WRITE,
    )
    yield Assumption(
        "A54",
        group,
        "`file/get` is answered with the record of the file, and its content in base64 as `data`.",
        "The page says that the content is returned, and not how; `file/put` takes base64.",
        "the reply is something else, such as the content alone",
        ("controllers.file.FileController.get", "models.File.content"),
        ("rest.handlers.file.get",),
        WRITE,
    )
    yield Assumption(
        "A55",
        group,
        "`checksum` of a file is its SHA-256 in hexadecimal digits.",
        "So it is with images of updates.",
        "it is another digest, or missing",
        ("models.File", "transfer.files"),
        ("state.files.File",),
        WRITE,
    )
    yield Assumption(
        "A56",
        group,
        "A signed URL for `put` or `delete` needs the role `edit`.",
        "One role, `view`, is documented for all commands; `file/put` needs `edit`.",
        "a caller who may only view gets one",
        ("controllers.file.FileController.get_signed_url",),
        ("rest.signed.signed_url",),
        NONE,
        "It takes a second token, of a lower role.",
    )


def database() -> Iterator[Assumption]:
    """Yield the assumptions on the device database."""
    group = "Device database"
    yield Assumption(
        "A57",
        group,
        "`exists` without a value means that the item may be there or not.",
        "A script of the vendor's uses it to set a key that may be new.",
        "`generic/update?exists=` of a new key is refused",
        ("codec.encoding.exists_query", "controllers.store.StoreController.set"),
        ("rest.handlers.generic.update",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A58",
        group,
        "`exists=null` means the same.",
        "The library has null for it; how that is written in a query string is not documented.",
        "`generic/update?exists=null` of a new key is refused",
        ("codec.encoding.exists_query",),
        ("rest.handlers.generic.update",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A59",
        group,
        "An item must exist to be updated, unless `exists` says otherwise.",
        "Default of the library of the service.",
        "`generic/update` of a new key is answered with 200",
        ("controllers.generic.GenericController.update",),
        ("rest.handlers.generic.update",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A60",
        group,
        "An item must not exist to be created, unless `exists` says otherwise.",
        "Default of the library of the service.",
        "a second `generic/create` of a key is answered with 200",
        ("controllers.generic.GenericController.create",),
        ("rest.handlers.generic.create",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A61",
        group,
        "A get by a part of a key that fits several items is refused.",
        "The library of the service (NonUniqueError).",
        "it is answered with one of them",
        ("controllers.generic.GenericController.get",),
        ("state.models.Models.get",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A62",
        group,
        "A write of a read-only member is refused, unless it has the value that is there.",
        "The schema marks them; what the service does is not documented.",
        "`generic/update` of `created` is answered with 200",
        ("controllers.generic.GenericController.update",),
        ("state.models.Models",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A63",
        group,
        "`created` is stamped where an update makes the item, and not by `generic/create`.",
        "The library of the service.",
        "a new item of `generic/create` has `created`",
        ("models.StoreItem",),
        ("state.models.Models.update",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A64",
        group,
        "A value of another type than the schema has is refused.",
        "The library would make text of a number. A refusal shows the mistake.",
        "a number for a text is answered with 200",
        ("controllers.generic.GenericController",),
        ("state.schema.Model",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A65",
        group,
        "Members that the model does not have are dropped.",
        "The library of the service.",
        "such a member comes back",
        ("controllers.generic.GenericController",),
        ("state.schema.Model",),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A66",
        group,
        "`deviceId` names an item of the model Device as `id` does.",
        "An example of the documents gets one so; the key of the model has `id`.",
        "a get of a Device by `deviceId` finds nothing",
        ("controllers.generic.GenericController.get",),
        ("rest.scope.identified",),
        NONE,
        "It takes a device that has written its own item.",
    )
    yield Assumption(
        "A67",
        group,
        "Writes of `generic/*` run the metric rules of the schema, as those of devices do. Their `where` is written as"
        " the policy of an update.",
        "Inferred from the guide on database metrics.",
        "a write over REST makes no sample",
        ("metrics.sinks",),
        ("state.samples.Samples", "state.policy"),
        NONE,
        "It takes a model with a rule, and leaves a sample.",
    )
    yield Assumption(
        "A68",
        group,
        "A Store item with a `role` is not found by callers without that role.",
        "Reference, section 7: the role that may read the item.",
        "it is shown, or refused with 403 on a get",
        ("models.StoreItem",),
        ("state.models.Models.for_roles",),
        NONE,
        "It takes a second token, of a lower role.",
    )


def metrics() -> Iterator[Assumption]:
    """Yield the assumptions on metrics."""
    group = "Metrics"
    yield Assumption(
        "A69",
        group,
        "`data` of `metric/fetch` has one metric for each item, in their order, and no arrays.",
        "The page of the device cloud; that of the Builder has an array for each item.",
        "`data` has arrays in it, or another number of answers",
        ("controllers.metric.fetch_metrics", "codec.elements.Elements", "metrics.queries.requests_of"),
        ("rest.handlers.metric.fetch",),
        DEVICE,
    )
    yield Assumption(
        "A70",
        group,
        "The points of a series are dated in epoch milliseconds.",
        "The library; the page says seconds, that of the Builder milliseconds.",
        "a timestamp is below 100,000,000,000",
        ("codec.records", "models.Point"),
        ("state.metrics.MetricEngine",),
        DEVICE,
    )
    yield Assumption(
        "A71",
        group,
        "An accumulated point is dated in epoch seconds.",
        "The library, since its second release.",
        "its timestamp is 100,000,000,000 or more",
        ("codec.records", "models.Point"),
        ("state.metrics.MetricEngine",),
        DEVICE,
    )
    yield Assumption(
        "A72",
        group,
        "An unknown metric has an answer without points, and no error.",
        "The library.",
        "its answer has `error`, or it is refused",
        ("metrics.reads", "models.Metric"),
        ("state.metrics.MetricEngine",),
        DEVICE,
    )
    yield Assumption(
        "A73",
        group,
        "`period` of an answer is that of the span which has the points, not the one that was asked for.",
        "The library.",
        "it is the one that was asked for",
        ("models.Metric",),
        ("state.metrics.MetricEngine",),
        DEVICE,
    )
    yield Assumption(
        "A74",
        group,
        "The `id` of an item comes back in its answer.",
        "The library.",
        "it does not",
        ("metrics.queries.requests_of", "models.Metric"),
        ("rest.metric_items.echoed",),
        DEVICE,
    )
    yield Assumption(
        "A75",
        group,
        "`owner` of a metric is the account.",
        "The library has an owner, by default `default`; what the service makes it is not documented.",
        "an answer has another owner",
        ("models.Metric",),
        ("rest.metric_items.echoed",),
        DEVICE,
    )
    yield Assumption(
        "A76",
        group,
        "An item that cannot be answered has `error` in its answer, and the others are answered.",
        "Pages of September 2025 list the member.",
        "the whole request is refused",
        ("models.Metric", "metrics.reads"),
        ("rest.metric_items.failed",),
        DEVICE,
    )
    yield Assumption(
        "A77",
        group,
        "An item without `statistic` and `period` is answered for `avg` and 300 seconds.",
        "`statistic` is documented as required, and with a default.",
        "such an item is refused",
        ("models.MetricQuery",),
        ("rest.metric_items.checked",),
        DEVICE,
    )
    yield Assumption(
        "A78",
        group,
        "A request may have 100 items.",
        "Not documented. Reads that are made at the same time share requests of this size.",
        "a request of 100 items is refused, or fewer are answered",
        ("metrics.batcher", "controllers.metric.MetricController"),
        ("rest.handlers.metric.fetch",),
        DEVICE,
    )
    yield Assumption(
        "A79",
        group,
        "`metric/getMetricList` is answered with an object that has `namespaces`; `metrics` and `dimensions` come with"
        " a namespace and a metric.",
        "The page, and the library.",
        "it is answered with something else",
        ("models.MetricList", "metrics.walk"),
        ("rest.handlers.metric.get_metric_list",),
        READ,
    )
    yield Assumption(
        "A80",
        group,
        "`metric/getDeviceSchema` is answered with a schema of OneTable: `models` and `indexes` at the top.",
        "The page says that it is such a schema.",
        "it has no `models` at the top",
        ("controllers.metric.MetricController.get_device_schema",),
        ("state.schema.device_schema",),
        READ,
    )
    yield Assumption(
        "A81",
        group,
        "There is no `metric/set` over REST.",
        "No page of any generation has one.",
        "a call to it is answered with 200",
        ("controllers.metric.MetricController.writer", "errors.MqttOnlyError"),
        ("rest.app.RestApp",),
        NONE,
        "If there were one, the sample could not be removed.",
    )
    yield Assumption(
        "A82",
        group,
        "A sample that is more than five minutes older than the newest of its metric is dropped; one that is newer than"
        " that may come in any order.",
        "The library.",
        "a late sample counts, or one within five minutes does not",
        ("metrics.automation", "cli.metric"),
        ("state.metrics.MetricEngine.emit",),
        NONE,
        "It leaves samples that cannot be removed.",
    )
