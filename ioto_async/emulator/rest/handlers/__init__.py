"""The handlers of a device cloud's operations, a module for each controller; those of the Builder are in ``builder``.

A public function of a module is the handler of the action with its name (`emulator.dispatch`). It gets the cloud, or
the Builder, and the call, runs under the lock of all clouds, and raises ``Refused``. It returns a JSON value, bytes for
plain text, or None where no reply is documented.
"""
