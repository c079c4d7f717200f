"""The assumptions on requests and replies of any operation: credentials, errors, envelopes, pages, formats."""

from collections.abc import Iterator

from .assumption import Assumption, Check

__all__ = ["replies", "requests"]

READ, WRITE, DEVICE_WRITE, NONE = Check.READ, Check.WRITE, Check.DEVICE_WRITE, Check.NONE


def requests() -> Iterator[Assumption]:
    """Yield the assumptions on what is sent, and on refusals of it."""
    group = "Requests"
    yield Assumption(
        "A1",
        group,
        "A token is taken alone in `Authorization`, and behind the word `bearer` as well.",
        "The documents and the updater send it alone, the device agent and the vendor's scripts behind `bearer`.",
        "one of the two forms is refused with a token that is good in the other",
        ("transport.auth.TokenAuth", "client.IotoClient"),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A2",
        group,
        "A token is taken in the header `X-Token` as well.",
        "The token guide of the Builder names it, and nothing else does.",
        "a request with the token in `X-Token` alone is refused",
        ("transport.auth",),
        ("rest.app.RestApp", "rest.plain.Plain"),
        READ,
    )
    yield Assumption(
        "A3",
        group,
        "A token goes with paths below `/tok`; on a bare path it is refused.",
        "Reference, section 2: scripts with a token use `/tok`, the script with a login the bare path.",
        "a request with a token to a path without `/tok` is answered",
        ("transport.transport.Transport", "transport.auth.TokenAuth"),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A4",
        group,
        "Every operation is a POST; other methods are refused.",
        "The pages of September 2025 say so of the cloud.",
        "a GET of `/tok/test/ping` is answered with 200",
        ("transport.transport.Transport",),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A5",
        group,
        "Members of a body that are not documented are ignored.",
        "The device agent sends its whole configuration with an update check, and `id` with `file/getSignedUrl`.",
        "a request with a further member is refused",
        ("client.IotoClient.call", "operations"),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A6",
        group,
        "Members of a query string that are not documented are ignored.",
        "As for bodies; the options of a query differ between the generations of the documents.",
        "a request with a further member in its query string is refused",
        ("client.IotoClient.call",),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A7",
        group,
        "A request without a body is one with an empty object.",
        "The device agent calls `device/getCreds` without a body.",
        "a request without a body is refused where one with `{}` is answered",
        ("codec.encoding.body",),
        ("wire.loads",),
        READ,
    )
    yield Assumption(
        "A8",
        group,
        "A body is JSON whatever common type it is sent with; a form is refused, and so is a member given twice.",
        "No document says what happens otherwise.",
        "a body of another type is read, or one with a member given twice",
        ("transport.transport.Transport",),
        ("rest.app.RestApp", "wire.loads"),
        NONE,
        "The client sends nothing of the kind.",
    )
    group = "Refusals"
    yield Assumption(
        "A9",
        group,
        "A request that cannot be carried out as it is, is answered with 400.",
        "The pages of September 2025 list 200, 400, 403 and 500; 401, 404, 409 and 429 are in none.",
        "a request without a required member is answered with another status",
        ("transport.refusals.parse_refusal", "errors.BadRequestError"),
        ("request.Refused",),
        READ,
    )
    yield Assumption(
        "A10",
        group,
        "The text of a refusal is the whole body, as `text/plain`.",
        "The pages of September 2025; the gateway itself may answer with JSON.",
        "a refusal comes with another type, or its text within something else",
        ("transport.refusals.parse_refusal", "codec.words.words_of"),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A11",
        group,
        "A token that is not valid is answered with 403.",
        "The pages of September 2025 give 403 for failed authentication. An older library knew 401.",
        "an invalid token is answered with another status",
        ("transport.credentials.Credentials", "errors.AuthenticationError"),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A12",
        group,
        "The text of that is exactly `Authentication failed`.",
        "The device agent compares with this text, and drops its provisioning. Which status has it is not documented.",
        "an invalid token is answered with another text",
        ("transport.refusals.parse_refusal",),
        ("request.AUTHENTICATION_FAILED",),
        READ,
    )
    yield Assumption(
        "A13",
        group,
        "A token whose role does not suffice is answered with 403 and another text.",
        "The text for an invalid token would make the device agent drop its provisioning.",
        "a token of too low a role is answered with another status, or with `Authentication failed`",
        ("transport.credentials.Credentials", "errors.AuthenticationError"),
        ("state.tokens.allows",),
        NONE,
        "It takes a second token, of a lower role.",
    )
    yield Assumption(
        "A14",
        group,
        "Too many requests are answered with 429, or with 503 and `Retry-After`, without having been carried out.",
        "No document has rate limits of the REST API; gateways of AWS throttle so.",
        "a throttled request is answered with another status, or was carried out",
        ("transport.retry", "transport.limits.Adaptive", "transport.pauses"),
        ("faults.Fault",),
        NONE,
        "It would take far more requests than a check may make.",
    )
    yield Assumption(
        "A15",
        group,
        "An unknown operation is refused as a bad request, not for lack of access.",
        "No document gives a status for it. A gateway of AWS answers 403 to an unknown route.",
        "an unknown operation is answered with 200, 401 or 403",
        ("client.IotoClient.call", "errors.AuthenticationError"),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A16",
        group,
        "A request fails with 403 if it has a member that needs a role which the caller lacks.",
        "The documents mark members with roles, and do not say whether they are ignored or refused without the role.",
        "such a member is ignored",
        ("operations.Field",),
        ("rest.app.RestApp",),
        NONE,
        "It takes a second token, of a lower role.",
    )
    yield Assumption(
        "A17",
        group,
        "An unknown device, or one of another account, is refused with the text `Cannot find device`.",
        "The device agent compares with this text. Which status has it is not documented.",
        "`device/get` of an unknown claim ID is answered with 200, or with another text",
        ("codec.words.says_not_found", "errors.NotFoundError"),
        ("request.CANNOT_FIND_DEVICE", "rest.scope.own_device"),
        READ,
    )


def replies() -> Iterator[Assumption]:
    """Yield the assumptions on what a reply looks like."""
    group = "Replies"
    yield Assumption(
        "A18",
        group,
        "A list is the member `data` of an object, beside the cursors.",
        "The tables of September 2025; an older library takes `data` out of every reply.",
        "a find is answered with a bare array",
        ("codec.decoding.paged",),
        ("state.models.paged",),
        READ,
    )
    yield Assumption(
        "A19",
        group,
        "A single record is the reply itself, not a member `data` of it.",
        "The overview of September 2025 wraps every reply in `data`, its tables and the device agent do not.",
        "a get is answered with an object whose only member is `data`",
        ("codec.decoding.record", "codec.decoding.result"),
        ("rest.app.RestApp",),
        READ,
    )
    yield Assumption(
        "A20",
        group,
        "A get that finds nothing is answered with 200 and an empty object.",
        "Not documented. The library of the service returns undefined.",
        "`generic/get` of what is not there has another status, or another body",
        ("codec.decoding.record", "errors.NotFoundError"),
        ("rest.handlers.generic.get", "rest.handlers.alert.get", "rest.handlers.dashboard.get"),
        READ,
    )
    yield Assumption(
        "A21",
        group,
        "An operation without a documented reply is answered with 200 and an empty object.",
        "No page says what a remove answers. An empty object suits every client.",
        "a remove is answered with another status or body",
        ("codec.decoding.nothing",),
        ("rest.app.RestApp",),
        WRITE,
    )
    yield Assumption(
        "A22",
        group,
        "Removing what is not there is no error.",
        "Default of the library of the service (`exists` null for a remove).",
        "`dashboard/remove` of an unknown key is refused",
        ("controllers.generic.GenericController.remove", "controllers.dashboard.DashboardController.remove"),
        ("rest.handlers.dashboard.remove", "rest.handlers.generic.remove", "rest.handlers.file.remove"),
        WRITE,
    )
    yield Assumption(
        "A23",
        group,
        "`test/ping` is answered with the plain text `pinged` and a line end.",
        "The vendor's page of the controller Test.",
        "it is answered with JSON, or another text",
        ("codec.decoding.text", "controllers.test.TestController"),
        ("rest.handlers.test.ping",),
        READ,
    )
    yield Assumption(
        "A24",
        group,
        "A signed URL is the reply itself, a JSON string.",
        "The device agent strips quotes off the reply.",
        "`file/getSignedUrl` is answered with an object, or with text that has no quotes",
        ("codec.decoding.signed_url",),
        ("rest.signed.signed_url",),
        READ,
    )
    yield Assumption(
        "A98",
        group,
        "Replies have the same form for tokens and for logins.",
        "The overview and the tables of September 2025 differ on the envelope, and so do the vendor's clients.",
        "a find or a get has another form for a login than for a token",
        ("codec.decoding",),
        ("rest.app.RestApp",),
        NONE,
        "It takes a sign-in as well as a token.",
    )
    group = "Pages"
    yield Assumption(
        "A25",
        group,
        "A page has 100 records where the request has no `limit`.",
        "The present documents have no default, the oldest say 1.",
        "a find without `limit` leaves records for a next page that are fewer than 100, or sends more than 100",
        ("controllers.base.Controller", "controllers.paging.Paged"),
        ("state.models.paged",),
        READ,
    )
    yield Assumption(
        "A26",
        group,
        "`limit` in the query string is the largest number of records on a page.",
        "Reference, section 5; the scripts of the vendor do not use it.",
        "`limit=1` is answered with more than one record, or with one and no `next` where there are more",
        ("codec.encoding.query",),
        ("state.models.paged",),
        READ,
    )
    yield Assumption(
        "A27",
        group,
        "A cursor is a string, which is sent back in the query string as it came.",
        "A string in the tables of replies, an object in those of queries, and an object in the library.",
        "`next` of a reply is an object, or is refused when it is sent back",
        ("codec.encoding.query", "models.Cursor", "controllers.paging.Paged"),
        ("state.models.cursor",),
        READ,
    )
    yield Assumption(
        "A28",
        group,
        "`prev` comes only if the request had a cursor, and leads back to the page before.",
        "The library of the service.",
        "a first page has `prev`, or a second one has none",
        ("controllers.paging.Paged",),
        ("state.models.paged",),
        READ,
    )
    yield Assumption(
        "A29",
        group,
        "The last page has no member `next`.",
        "Reference, section 5.",
        "a page that is the last one has `next`",
        ("codec.decoding.paged",),
        ("state.models.paged",),
        READ,
    )
    yield Assumption(
        "A30",
        group,
        "A page is filled up to its limit, however many records are passed over; with `filter` it is not.",
        "The library of the service.",
        "a page has fewer records than its limit, and `next`",
        ("controllers.paging.Paged",),
        ("state.models.paged",),
        NONE,
        "It takes more records than a check may write.",
    )
    group = "Formats"
    yield Assumption(
        "A31",
        group,
        "Dates come as ISO 8601 text in UTC with milliseconds.",
        "The schema of the service (`isoDates`), the device agent.",
        "a date comes as a number, or as other text",
        ("codec.records", "models.wire.iso"),
        ("wire.iso",),
        READ,
    )
    yield Assumption(
        "A32",
        group,
        "`expires` is sent as epoch milliseconds, and comes back as a date, rounded up to a second.",
        "The page of `store/set`; the library stores seconds.",
        "the date that comes back is another, or comes as a number",
        ("codec.encoding.timestamp", "controllers.store.StoreController.set"),
        ("state.schema.milliseconds", "state.schema.Model"),
        DEVICE_WRITE,
    )
    yield Assumption(
        "A33",
        group,
        "A null removes a member, and no reply has one.",
        "The schema of the service (`nulls: false`).",
        "a member that was set to null comes back as null, or with its former value",
        ("controllers.base.Controller", "codec.encoding.OMIT"),
        ("state.models.Models.update",),
        DEVICE_WRITE,
    )
