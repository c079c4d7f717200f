"""``python -m ioto_async.cli`` is ``ioto-async``."""

from . import main

main()
