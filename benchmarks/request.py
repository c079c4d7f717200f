"""The one request that all clients send, and where and how often: nothing here is imported that a client might need."""

from typing import Final

__all__ = ["ACCOUNT_ID", "BODY", "DEVICE_ID", "HEADERS", "IN_FLIGHT", "PATH", "SCHEMES", "TOKEN"]

DEVICE_ID: Final = "01K9ZX5V7M3QH2B8D4T6W0R1NE"
ACCOUNT_ID: Final = "01K2C7R9E5Y1J3M6P8S0V4X2ZA"
TOKEN: Final = "01K3D8S0F6Z2J4M7P9R1V5X3YB"

PATH: Final = "/tok/device/get"
BODY: Final = {"id": DEVICE_ID, "accountId": ACCOUNT_ID}
HEADERS: Final = {
    "Accept": "application/json",
    "Authorization": TOKEN,
    "Content-Type": "application/json",
    "User-Agent": "ioto-async/0.1.0",
}

SCHEMES: Final = ("http", "https")
IN_FLIGHT: Final = (64, 8, 1)
