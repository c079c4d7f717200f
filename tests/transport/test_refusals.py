"""What a reply that is no success says: pure functions."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async import (
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    StatusError,
    UnexpectedStatusError,
)
from ioto_async.transport.refusals import Refusal, parse_refusal
from ioto_async.transport.retry import Failure

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
SECRET = "s3cr3t-T0ken"


def parse(
    body: str | bytes = "",
    status: int = 400,
    *,
    reason: str | None = "Reason",
    headers: dict[str, str] | None = None,
    **options: str,
) -> Refusal:
    data = body.encode() if isinstance(body, str) else body
    return parse_refusal(
        status,
        reason,
        headers or {},
        data,
        mask=lambda text: text.replace(SECRET, "***"),
        now=lambda: NOW,
        **options,
    )


XML = "<?xml version='1.0'?>\n<Error>{}<RequestId>X</RequestId></Error>"
TEXTS: list[tuple[str | bytes, str, str]] = [
    # of the service itself
    ("Cannot find device", "", "Cannot find device"),
    ("  Too  \n much\x07 ", "", "Too much"),
    (b"caf\xe9 closed", "", "caf\ufffd closed"),
    ("", "", "Reason"),
    (b"\x00\x07", "", "Reason"),
    # JSON
    ('{"message": "Too much"}', "", "Too much"),
    ('{"Message": "User is not authorized"}', "", "User is not authorized"),
    ('{"message": "one", "Message": "two"}', "", "one"),
    ('{"message": null}', "", "Reason"),
    ('{"message": 17}', "", "17"),
    ("{}", "", "Reason"),
    ('{"message"', "", '{"message"'),
    ("[1]", "", "[1]"),
    ('"Cannot find device"', "", "Cannot find device"),
    ('\ufeff{"message": "Too much"}', "", "Too much"),
    ('{"message": "Too much", "value": NaN}', "", "Too much"),
    ('{"message": "half a \\ud83d"}', "", "half a \ufffd"),
    (b'{"message": "caf\xe9 closed"}', "", "caf\ufffd closed"),
    ('{"message": "one", "message": "two"}', "", "two"),
    ('{"error": "Too much"}', "", "Too much"),
    ('{"errors": ["Too much", "Too soon"]}', "", "Too much; Too soon"),
    ('{"Errors": [{"Message": "a"}, {"Message": "b"}, {"Message": "c"}, {"Message": "d"}]}', "", "a; b; c"),
    ('{"errorMessage": "Cannot find device", "errorType": "Error", "trace": ["at x"]}', "", "Cannot find device"),
    ('{"errorMessage": "{\\"error\\": {\\"text\\": \\"Too much\\"}}"}', "", "Too much"),
    ('{"error": {"message": "Too much", "code": 7}}', "", "Too much"),
    ('{"error": {"error": {"Message": "Too much"}}}', "", "Too much"),
    ('{"error": "Bad Request", "message": "Too much", "statusCode": 400}', "", "Too much"),
    ('{"error": "invalid_grant", "error_description": "Too much"}', "", "Too much"),
    ('{"message": "", "error": "Too much"}', "", "Too much"),
    ('{"message": {"text": "Too much"}}', "", "Too much"),
    ('{"message": ["Too much", "Too soon"]}', "", "Too much; Too soon"),
    ('{"type": "about:blank", "title": "Refused", "status": 400, "detail": "Too much"}', "", "Too much"),
    ('{"title": "Refused", "status": 400}', "", "Refused"),
    ('{"detail": [{"loc": ["body", "id"], "msg": "field required", "input": "x"}]}', "", "field required"),
    ('{"errors": {"email": ["is taken"], "name": "is empty"}}', "", "email: is taken; name: is empty"),
    ('{"status": "error", "data": {"reason": "Too much"}}', "", "Too much"),
    ('{"fault": {"faultstring": "Too much", "detail": {"errorcode": "x"}}}', "", "Too much"),
    ('{"ok": false, "description": "Too much"}', "", "Too much"),
    ('{"statusCode": 400, "body": "{\\"message\\": \\"Too much\\"}"}', "", "Too much"),
    ('{"developerMessage": "Too much"}', "", "Too much"),
    ('[{"message": "Too much"}]', "", "Too much"),
    ('{"context": {"message": "not this"}, "error": "Too much"}', "", "Too much"),
    ('{"code": "DEVICE_LOCKED"}', "", "DEVICE_LOCKED"),
    ('{"statusCode": 400, "status": {"description": "Too much"}}', "", "Too much"),
    ('{"Response": {"Errors": {"Error": {"Code": "X", "Message": "Too much"}}}}', "", "Too much"),
    ('{"mine": [{"message": "Too much"}]}', "", "Too much"),
    ('{"statusCode": 400}', "", "Reason"),
    ("[]", "", "Reason"),
    ("null", "", "null"),
    ('{"password": "x", "token": "y", "tokens": ["z"]}', "", "Reason"),
    ('{"error": ' + "[" * 300 + "]" * 300 + "}", "", "Reason"),
    ('{"error":' * 300 + '"deep"' + "}" * 300, "", "Reason"),
    ('{"message": "Too much", "error": ' + "[" * 900 + "]" * 900 + "}", "", "Too much"),
    # of Cognito
    ('{"__type": "NotAuthorizedException", "message": "No"}', "NotAuthorizedException", "NotAuthorizedException: No"),
    ('{"__type": "a.b#UserNotFound", "message": "No"}', "UserNotFound", "UserNotFound: No"),
    ('{"__type": "UserNotFound"}', "UserNotFound", "UserNotFound"),
    ('{"__type": null, "message": "No"}', "", "No"),
    # of S3
    (XML.format("<Code>NoSuchKey</Code><Message>It &amp; all</Message>"), "NoSuchKey", "NoSuchKey: It & all"),
    (XML.format("<Code>NoSuchKey</Code>"), "NoSuchKey", "NoSuchKey"),
    (XML.format("<Message>We</Message>"), "", "We"),
    (
        "<Error xmlns='x'><Code>SlowDown</Code><Message lang='en'>Too much</Message></Error>",
        "SlowDown",
        "SlowDown: Too much",
    ),
    ("<ErrorResponse><Error><Code>No</Code><Message>Too much</Message></Error></ErrorResponse>", "No", "No: Too much"),
    # of a proxy, XML
    ("<error><message>Too &lt;much&gt;</message></error>", "", "Too <much>"),
    ("<error>Too much</error>", "", "Too much"),
    ("<Error><Message><![CDATA[Too <much>]]></Message></Error>", "", "Too <much>"),
    ("<s:Envelope><s:Fault><faultstring>Too much</faultstring></s:Fault></s:Envelope>", "", "Too much"),
    ("<s:Fault><s:Reason><s:Text xml:lang='en'>Too much</s:Text></s:Reason></s:Fault>", "", "Too much"),
    ("<other/>", "", "an XML document (Reason)"),
    ("<error>cut", "", "cut"),
    ("<!---->" * 9000, "", "an XML document (Reason)"),
    ("<message>" * 7000, "", "an XML document (Reason)"),
    # of a proxy
    ("<!DOCTYPE html><html><body>Bad gateway</body></html>", "", "an HTML page (Reason)"),
    ("<html><head><title>502 Bad Gateway</title></head></html>", "", "an HTML page: 502 Bad Gateway"),
    ("\n<HTML><HEAD><TITLE lang=en>\n Blocked &amp; logged </TITLE>", "", "an HTML page: Blocked & logged"),
    ("<?xml version='1.0'?><!DOCTYPE html><html><title></title><h1>No <b>way</b></h1>", "", "an HTML page: No way"),
    ("<html><title>Denied</title><p>run <code>x</code>, <message>y</message>", "", "an HTML page: Denied"),
    # secrets, which are masked before the text is cut
    (f"bad token {SECRET}", "", "bad token ***"),
    (f'{{"message": "token {SECRET}"}}', "", "token ***"),
    (XML.format(f"<Code>Denied</Code><Message>{SECRET}</Message>"), "Denied", "Denied: ***"),
    ("x" * 495 + SECRET, "", "x" * 495 + "***"),
    ("x" * 5000, "", "x" * 500),
]


def test_the_text_of_a_refusal_is_read_in_every_form_that_services_give_it() -> None:
    seen = [(body, (refusal := parse(body)).code, refusal.message) for body, _, _ in TEXTS]
    assert [row for row, expected in zip(seen, TEXTS, strict=True) if row != expected] == []


def test_a_refusal_without_text_and_reason_says_that_there_is_no_text() -> None:
    assert parse(reason="").message == parse(reason=None).message == "no text"


def test_a_reason_is_masked_as_well() -> None:
    assert parse(reason=f"what is {SECRET}").message == "what is ***"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_says_where_it_leads(status: int) -> None:
    refusal = parse("<html>", status, headers={"Location": f"https://other.example/?token={SECRET}"})
    assert refusal.message == "redirect to https://other.example/?token=***: check the endpoint"
    assert parse("moved", status).message == "redirect to nowhere: check the endpoint"
    assert refusal.failure is Failure.DEFINITE


def test_a_redirect_that_may_show_a_secret_is_not_shown() -> None:
    refusal = parse(status=302, headers={"Location": "https://other.example/{0}"}, redirect="not followed")
    assert refusal.message == "not followed"


@pytest.mark.parametrize(
    ("value", "seconds"), [("17", 17.0), ("Mon, 06 May 2024 07:09:09 GMT", 60.0), ("soon", None), (None, None)]
)
def test_the_wait_that_the_service_asks_for_is_read(value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"Retry-After": value}
    assert parse(status=503, headers=headers).retry_after == seconds
    assert parse(status=503, headers=headers).failure is (Failure.UNKNOWN if seconds is None else Failure.REFUSED)


def test_a_throttled_request_is_known_by_the_name_of_the_error_whatever_its_status() -> None:
    assert parse('{"__type": "x#TooManyRequestsException"}', 400).failure is Failure.REFUSED
    assert parse('{"__type": "x#LimitExceededException"}', 400).failure is Failure.DEFINITE
    assert parse(XML.format("<Code>RequestTimeout</Code>"), 400).failure is Failure.REFUSED


ERRORS: list[tuple[int, str, type[StatusError], Failure]] = [
    (302, "", UnexpectedStatusError, Failure.DEFINITE),
    (400, "No", BadRequestError, Failure.DEFINITE),
    (400, "Cannot find device", NotFoundError, Failure.DEFINITE),
    (401, "No", AuthenticationError, Failure.DEFINITE),
    (403, "No", AuthenticationError, Failure.DEFINITE),
    (400, "cannot find device", NotFoundError, Failure.DEFINITE),
    (400, '{"errorMessage": "Cannot find device", "errorType": "Error"}', NotFoundError, Failure.DEFINITE),
    (400, '{"error": {"message": "Error: Cannot find device"}}', NotFoundError, Failure.DEFINITE),
    (400, '{"Message": "Device M72DANY8BZ not found."}', NotFoundError, Failure.DEFINITE),
    (400, '{"detail": "The device does not exist"}', NotFoundError, Failure.DEFINITE),
    (400, "Could not find user", NotFoundError, Failure.DEFINITE),
    (400, "<Error><Code>X</Code><Message>Cannot find device</Message></Error>", NotFoundError, Failure.DEFINITE),
    (400, "The device cannot find its way", BadRequestError, Failure.DEFINITE),
    (404, "Cannot find device", NotFoundError, Failure.DEFINITE),
    (422, "Missing id", BadRequestError, Failure.DEFINITE),
    (404, '{"message": "Not Found"}', UnexpectedStatusError, Failure.DEFINITE),
    (404, "404 Not Found", UnexpectedStatusError, Failure.DEFINITE),
    (404, "404 page not found", UnexpectedStatusError, Failure.DEFINITE),
    (404, '{"error": "Route /x not found"}', UnexpectedStatusError, Failure.DEFINITE),
    (404, "<html><title>Device not found</title></html>", UnexpectedStatusError, Failure.DEFINITE),
    (410, "Cannot find device", NotFoundError, Failure.DEFINITE),
    (403, "Cannot find device", AuthenticationError, Failure.DEFINITE),
    (429, "Cannot find device", RateLimitedError, Failure.REFUSED),
    (500, '{"errorMessage": "Cannot find device"}', ServiceError, Failure.UNKNOWN),
    (429, "No", RateLimitedError, Failure.REFUSED),
    (500, "No", ServiceError, Failure.UNKNOWN),
    (599, "No", ServiceError, Failure.UNKNOWN),
]


def test_the_error_of_a_refusal_follows_from_its_status() -> None:
    seen = []
    for status, body, _, _ in ERRORS:
        failed = parse(body, status).failed("device/get")
        seen.append((status, body, type(failed.error), failed.failure))
    assert [row for row, expected in zip(seen, ERRORS, strict=True) if row != expected] == []


def test_the_error_of_a_refusal_has_all_that_it_says() -> None:
    error = parse("slow down", 429, headers={"Retry-After": "9"}).failed("device/get").error
    assert str(error) == "device/get: 429 slow down (retry after 9 s)"
    assert (error.operation, error.status, error.retry_after) == ("device/get", 429, 9.0)


def test_another_error_can_be_said() -> None:
    error = parse("gone", 404).failed("file/download", NotFoundError).error
    assert (type(error), str(error)) == (NotFoundError, "file/download: 404 gone")


@given(st.binary() | st.text().map(lambda text: f"{{{text}}}".encode()) | st.text().map(lambda t: f"<{t}>".encode()))
def test_no_body_makes_the_reader_fail(data: bytes) -> None:
    message = parse(data).message
    assert 0 < len(message) <= 500
    assert message.isprintable()
