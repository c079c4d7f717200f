"""The handlers of the messages of devices, a module for each controller.

A public function of a module is the handler of the action with its name (`emulator.dispatch`). It gets the call, runs
in the transaction of its batch, returns the messages to send, and raises ``BadMessage``, ``Refused`` or ``ValueError``.
"""
