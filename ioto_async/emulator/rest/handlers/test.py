"""The ``test`` controller of a device cloud (reference, section 11)."""

from ...request import Call
from ...state.cloud import Cloud


def ping(cloud: Cloud, call: Call) -> object:
    """Give a sign of life, in plain text (wire examples, section 5)."""
    return "pinged" if cloud.otherwise("A23") else b"pinged\n"
