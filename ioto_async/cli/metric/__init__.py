"""``ioto-async metric``: metrics of devices, read and written."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from ..options import File, JournaledPace, Pace
from ..report import FLAG
from . import exporting, reading, sending
from .arguments import Asked
from .sending import Via, WayOptions
from .tables import Form

__all__ = ["export", "get", "list_all", "metric", "write"]


_ASKED: Final = Asked()
_PACE: Final = Pace()
_JOURNALED: Final = JournaledPace()
_WAY: Final = WayOptions()


async def get(
    device: str,
    metric: str,
    /,
    *,
    asked: Asked = _ASKED,
    accumulate: Annotated[bool, FLAG] = False,
    output: reading.ReadForm | None = None,
    out: Path | None = None,
    graph: Annotated[bool, FLAG] = False,
    plot: Path | None = None,
    unit: str | None = None,
) -> int:
    """Show a metric of a device: as a table, as a picture, or as data.

    The cloud is the one that IOTO_API and IOTO_TOKEN name. Times are in UTC. A point without samples has no value.

    Args:
        device: claim ID of the device.
        metric: name of the metric.
        asked: what is asked.
        accumulate: one point for the whole period.
        output: how the points are written; as a table if neither this nor a picture is asked for.
        out: file for the points; its name may tell the form.
        graph: draw a picture in the terminal.
        plot: draw a picture in a file FILE.png or FILE.svg.
        unit: of the values, for the pictures.
    """
    return await reading.get(
        device, metric, asked, accumulate=accumulate, output=output, out=out, graph=graph, picture=plot, unit=unit
    )


async def list_all(
    cloud: str,
    /,
    *,
    namespace: str | None = None,
    metric: str | None = None,
    output: reading.ListForm = "table",
) -> int:
    """List the metrics of a device cloud with their dimensions.

    Args:
        cloud: ID of the device cloud.
        namespace: namespace, or the beginning of some; all by default.
        metric: name of a metric, to see its dimensions only.
        output: how they are printed.
    """
    return await reading.list_all(cloud, namespace=namespace, metric=metric, output=output)


async def export(
    *,
    devices: File,
    metric: Annotated[tuple[str, ...], Parameter(negative=())],
    asked: Asked = _ASKED,
    id_column: str = "id",
    output: Form | None = None,
    out: Path | None = None,
    pace: Pace = _PACE,
) -> int:
    """Write the points of metrics of all devices of a fleet into one table.

    The cloud is the one that IOTO_API and IOTO_TOKEN name. All metrics of a device travel in one request. Rows are
    written as they come, in the order of the devices; what could not be read has a row with an error. The table is in
    OUT.part until it is whole, and is dropped if the run is interrupted.

    Args:
        devices: a CSV with a header, JSON objects (one a line), or one ID a line; - reads stdin.
        metric: name of a metric; may be given several times.
        asked: what is asked.
        id_column: column that has the IDs.
        output: how the points are written; csv, if neither this nor the name of a file tells.
        out: file for the points, whose name may tell the form; stdout by default.
        pace: of the run.
    """
    return await exporting.export(devices, metric, asked, pace, id_column=id_column, output=output, out=out)


async def write(
    *,
    from_: Annotated[File, Parameter(name="--from")],
    via: Via,
    way: WayOptions = _WAY,
    key: str | None = None,
    pace: JournaledPace = _JOURNALED,
) -> int:
    """Write the samples of a file, in one of the three ways that the API has.

    A row has metric, value, and, if need be, timestamp (an ISO date with its offset, or epoch seconds or milliseconds)
    and dimensions: columns dimensions.NAME, or in JSON an object dimensions. Rows with timestamps are to be in order:
    the service drops a sample that is more than five minutes older than the newest of its series. The journal tells
    which samples are written; one that was sent, and may be written, is not sent again, but told.

    Args:
        from_: a CSV with a header, or JSON objects (one a line); - reads stdin.
        via: the way: an automation of type metric, a model with metric rules, or MQTT as a device.
        way: what it needs.
        key: column that tells samples apart; by default the line and what is in it.
        pace: of the run.
    """
    return await sending.write(from_, via, way, pace, key_column=key)


metric = App(name="metric", help="Read metrics of devices, draw them, export those of a fleet, or write samples.")
metric.command(get)
metric.command(list_all, name="list")
metric.command(export)
metric.command(write)
