"""``ioto-async fleet``: one call for each device of a file, with a journal to go on from. Imports its commands."""

from cyclopts import App

from . import commands

__all__ = ["fleet"]

fleet = App(name="fleet", help="Register, claim, provision or release the devices of a file, or check their updates.")
for command in (commands.register, commands.claim, commands.provision, commands.release, commands.check_update):
    fleet.command(command)
