"""``ioto-async metric``: read and write metrics of devices."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from ..options import FLAG, File, JournalOptions, RecordFormat, RunOptions, Texts, use_api
from . import exporting, reading, sending
from .arguments import QueryOptions
from .sending import SinkOptions, Via
from .tables import TableFormat

__all__ = ["export", "get", "list_all", "metric", "write"]

_QUERY: Final = QueryOptions()
_RUN: Final = RunOptions()
_JOURNAL: Final = JournalOptions()
_SINK: Final = SinkOptions()


async def get(
    device: str,
    metric: str,
    /,
    *,
    api: str | None = None,
    query: QueryOptions = _QUERY,
    accumulate: Annotated[bool, FLAG] = False,
    output: reading.PointsFormat | None = None,
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
        api: base URL of the device cloud; IOTO_API by default.
        query: what is queried.
        accumulate: one point for the whole period.
        output: format of the points; a table by default, unless a picture is drawn.
        out: file for the points, whose name may tell the format.
        graph: draw a picture in the terminal.
        plot: draw a picture in a file FILE.png or FILE.svg.
        unit: of the values, for the pictures.
    """
    use_api(api)
    return await reading.get(
        device, metric, query, accumulate=accumulate, output=output, out=out, graph=graph, picture=plot, unit=unit
    )


async def list_all(
    cloud: str,
    /,
    *,
    api: str | None = None,
    namespace: str | None = None,
    metric: str | None = None,
    output: RecordFormat = "table",
) -> int:
    """List the metrics of a device cloud with their dimensions.

    Args:
        cloud: ID of the device cloud.
        api: base URL of the device cloud; IOTO_API by default.
        namespace: namespace, or the beginning of some; all by default.
        metric: name of a metric, to see its dimensions only.
        output: format of the list.
    """
    use_api(api)
    return await reading.list_all(cloud, namespace=namespace, metric=metric, output=output)


async def export(
    *,
    devices: File,
    metric: Texts,
    api: str | None = None,
    query: QueryOptions = _QUERY,
    id_column: str = "id",
    output: TableFormat | None = None,
    out: Path | None = None,
    restart: Annotated[bool, FLAG] = False,
    options: RunOptions = _RUN,
) -> int:
    """Write the points of metrics of all devices of a fleet into one table.

    The cloud is the one that IOTO_API and IOTO_TOKEN name. All metrics of a device travel in one request. Rows are
    written as they come, in the order of the devices; what could not be read has a row with an error.

    The table is in OUT.part until it is whole. What was read is in OUT.journal until then: run the same again after an
    interruption, a crash or an outage, and it goes on from there, over the same range, and reads again what has failed.

    Args:
        devices: a CSV with a header, JSON objects (one a line), or one ID a line; - reads stdin.
        metric: name of a metric; may be given several times.
        api: base URL of the device cloud; IOTO_API by default.
        query: what is queried.
        id_column: column that has the IDs.
        output: format of the points; csv by default, unless the name of the file tells another.
        out: file for the points, whose name may tell the format; stdout by default.
        restart: forget what an interrupted run has read, and begin anew.
        options: of the run.
    """
    use_api(api)
    return await exporting.export(
        devices, metric, query, options, id_column=id_column, output=output, out=out, restart=restart
    )


async def write(
    *,
    from_: Annotated[File, Parameter(name="--from")],
    via: Via,
    api: str | None = None,
    sink: SinkOptions = _SINK,
    key: str | None = None,
    options: JournalOptions = _JOURNAL,
) -> int:
    """Write the samples of a file, by one of the three means that the API offers.

    A row has metric, value, and, if need be, timestamp (an ISO date with its offset, or epoch seconds or milliseconds)
    and dimensions: columns dimensions.NAME, or in JSON an object dimensions. Rows with timestamps are to be in order:
    the service drops a sample that is more than five minutes older than the newest of its series. The journal tells
    which samples are written; one that was sent, and may be written, is reported and not sent again.

    Args:
        from_: a CSV with a header, or JSON objects (one a line); - reads stdin.
        via: what writes them: an automation of type metric, a model with metric rules, or MQTT as a device.
        api: base URL of the device cloud; IOTO_API by default.
        sink: what that needs.
        key: column that tells samples apart; by default the number of the line and its text do.
        options: of the run.
    """
    use_api(api)
    return await sending.write(from_, via, sink, options, key_column=key)


metric = App(name="metric", help="Read metrics of devices, draw them, export those of a fleet, or write samples.")
metric.command(get)
metric.command(list_all, name="list")
metric.command(export)
metric.command(write)
