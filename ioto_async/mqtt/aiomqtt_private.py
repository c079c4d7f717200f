"""All private names of aiomqtt and paho that a device link uses, as there are no public ones; looked for at import."""

from typing import Final

import aiomqtt
from paho.mqtt import client as paho

__all__ = ["missing"]

_METHODS: Final = (
    "_client_connect",
    "_misc_loop",
    "_on_connect",
    "_on_disconnect",
    "_on_message",
    "_on_publish",
    "_on_socket_close",
    "_on_socket_open",
    "_on_socket_register_write",
)
"""Of `aiomqtt.Client`."""
_ATTRIBUTES: Final = ("_client", "_connected", "_disconnected", "_hostname", "_loop", "_misc_task", "_port")
"""Of its instances; its constructor sets them."""
_OF_PAHO: Final = ("_create_socket", "_sock_close")
"""Of `paho.mqtt.client.Client`."""


def missing() -> list[str]:
    """The names that the installed packages do not have."""
    set_by_constructor = aiomqtt.Client.__init__.__code__.co_names
    return [
        *(f"aiomqtt.Client.{name}" for name in _METHODS if not hasattr(aiomqtt.Client, name)),
        *(f"aiomqtt.Client.{name}" for name in _ATTRIBUTES if name not in set_by_constructor),
        *(f"paho.mqtt.client.Client.{name}" for name in _OF_PAHO if not hasattr(paho.Client, name)),
    ]


if _missing := missing():
    raise ImportError(
        f"the installed aiomqtt and paho-mqtt have no {_missing[0]}, which a DeviceLink needs: "
        "pip install 'ioto-async[mqtt]' brings versions that have it",
        name="aiomqtt",
    )
