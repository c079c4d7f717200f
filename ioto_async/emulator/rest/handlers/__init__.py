"""The operations of the embedded cloud, a module for each controller and one for the Builder.

Each module has a function for each action, named as in the API in snake_case, and maps operations to them in
``HANDLERS``. A handler gets the cloud, or the Builder, and the call, runs under the lock of all clouds, and raises
``Refused``. It returns a JSON value, bytes for a plain text, or None for replies that are not documented. Handlers
import the cloud, or the Builder, and what a call is.
"""
