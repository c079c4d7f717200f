"""What the embedded cloud can do otherwise than it is assumed of the real one, by the number of the assumption."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["OTHERWISE", "check_otherwise"]

OTHERWISE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "A1": "refuses a token behind the word bearer",
        "A2": "ignores the header X-Token",
        "A3": "takes tokens on the bare path as well",
        "A4": "answers a GET as a POST",
        "A5": "refuses members of a body that are not documented",
        "A6": "refuses members of a query string that are not documented",
        "A7": "refuses a request without a body",
        "A9": "answers 422 where a request is refused",
        "A10": "sends the text of a refusal as JSON",
        "A11": "answers 401 to an invalid token",
        "A12": "answers an invalid token with another text",
        "A15": "answers an unknown operation as the gateway does, 403",
        "A17": "says in other words that there is no such device",
        "A18": "answers a list as a bare array",
        "A19": "wraps a record in data",
        "A20": "answers 404 where a get finds nothing",
        "A21": "answers 204 without a body where no reply is documented",
        "A22": "refuses to remove what is not there",
        "A23": "answers test/ping with a JSON string",
        "A24": "answers with a signed URL as the member of an object",
        "A25": "puts one record on a page without limit",
        "A26": "ignores limit",
        "A27": "sends cursors as objects",
        "A28": "sends prev with the first page as well",
        "A29": "ends the last page with next: null",
        "A31": "sends dates as epoch milliseconds",
        "A32": "sends the date on which an item expires as epoch seconds",
        "A33": "shows members without a value as null",
        "A34": "wants an account with device/find",
        "A35": "takes the account of the cloud where a generic call names none",
        "A36": "lists dashboards whatever accountId says",
        "A37": "answers account/get without a key with the account of the cloud",
        "A38": "does not let a CloudAPI token list files",
        "A39": "answers user/getRoles with a list",
        "A43": "answers a second claim by the same account with the record",
        "A46": "gives a device another certificate each time",
        "A47": "sends the MQTT host as a URL",
        "A49": "says nothing where there is no update",
        "A50": "refuses an update check that names another product",
        "A51": "does not note the version of an update check",
        "A52": "lists the names of files",
        "A53": "answers file/put with nothing",
        "A54": "answers file/get with the content alone",
        "A55": "sends the MD5 of a file",
        "A57": "takes exists without a value for the default",
        "A58": "refuses exists=null",
        "A59": "creates an item that is updated and not there",
        "A60": "replaces an item that is created and there",
        "A61": "answers a get that finds several items with the first",
        "A62": "ignores read-only members",
        "A63": "stamps created when an item is created",
        "A64": "makes text of a number where the model has text",
        "A65": "keeps members that the model does not have",
        "A69": "nests the answers of metric/fetch, an array for each item",
        "A70": "dates the points of a series in seconds",
        "A71": "dates accumulated points in milliseconds",
        "A72": "answers an unknown metric with an error",
        "A73": "answers with the period that was asked for",
        "A74": "does not repeat the id of an item",
        "A75": "calls the owner of metrics default",
        "A76": "refuses all items if one is wrong",
        "A77": "wants a statistic and a period with each item",
        "A78": "answers the first 10 items of metric/fetch",
        "A79": "lists namespaces as a bare array",
        "A80": "sends the database schema as the member of an object",
        "A83": "answers an unknown automation with an error in a 200",
        "A84": "has trigger/invoke as well",
        "A86": "answers dashboard/find with one record",
        "A87": "wants the key of the app with manager/get",
    }
)
"""What it then does."""


def check_otherwise(numbers: Iterable[str]) -> frozenset[str]:
    """Return the *numbers*, if the cloud can do otherwise than each says.

    Raises:
        ValueError: it cannot.
    """
    wanted = frozenset(numbers)
    for number in sorted(wanted):
        if number not in OTHERWISE:
            raise ValueError(
                f"otherwise: {number!r} is not an assumption that a cloud can break; those are {', '.join(OTHERWISE)}"
            )
    return wanted
