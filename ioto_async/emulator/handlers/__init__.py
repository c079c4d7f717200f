"""The operations of the embedded cloud, a module for each controller and one for the Builder.

Each module has a function for each action, named as in the API in snake_case, and maps operations to them in
``HANDLERS``. A handler gets the cloud and the call, runs under the cloud's lock, returns a JSON value, or None for
replies that are not documented, and raises ``Refused``. Handlers import the cloud and what a call is.
"""
