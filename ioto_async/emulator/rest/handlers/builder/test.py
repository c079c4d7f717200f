"""The ``test`` controller of the Builder (reference, section 12)."""

from ....request import Call, Refused
from ....state.builder import Builder


def echo(builder: Builder, call: Call) -> object:
    """Return the body's members."""
    return dict(call.body)


def empty(builder: Builder, call: Call) -> object:
    """Succeed, whatever the body holds."""
    return None


def exception(builder: Builder, call: Call) -> object:
    """Fail as a defect of the service does."""
    raise Refused("Service error", 500)


def success(builder: Builder, call: Call) -> object:
    """Succeed."""
    return None
