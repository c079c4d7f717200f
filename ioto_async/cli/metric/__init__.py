"""``ioto-async metric``: metrics of devices, read and written. Imports its commands."""

from cyclopts import App

from . import commands

__all__ = ["metric"]

metric = App(name="metric", help="Read metrics of devices, draw them, export those of a fleet, or write samples.")
metric.command(commands.get)
metric.command(commands.list_all, name="list")
metric.command(commands.export)
metric.command(commands.write)
