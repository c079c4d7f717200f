"""``metric get`` and ``metric list``: a series as a table or a picture, and which series there are."""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, Literal

import attrs

from ...client import IotoClient
from ...errors import InvalidArgumentError
from ...models import JSON, Metric
from ..files import is_stdout
from ..listing import Listing, print_rows, text_of
from ..options import RecordFormat, check_account
from .arguments import QueryOptions
from .pictures import Series, draw, plot
from .tables import PointRow, format_of, iso_date, open_table, point_rows

__all__ = ["PointsFormat", "get", "list_all"]

PointsFormat = Literal["table", "csv", "jsonl", "parquet"]

_PICTURES: Final = (".png", ".svg")
_HEIGHT: Final = 20
"""Lines of a picture in the terminal."""
_BRAILLE: Final = "⣿"
_LISTED: Final[Sequence[str]] = ("namespace", "metric", "dimensions")


async def get(
    device: str,
    metric: str,
    options: QueryOptions,
    *,
    accumulate: bool,
    output: PointsFormat | None,
    out: Path | None,
    graph: bool,
    picture: Path | None,
    unit: str | None,
) -> int:
    """Read a series, print or draw it, and return the exit status.

    Raises:
        InvalidArgumentError: an option does not fit.
        CallError: the series could not be read.
        OSError: a file could not be written.
    """
    query = options.query(device, metric, accumulate=accumulate)
    format = format_of(output, out)
    is_table = output == "table" or (format is None and not graph and picture is None)
    if graph and format is not None and (out is None or is_stdout(out)):
        raise InvalidArgumentError(f"--graph: stdout has the {format}: give --out FILE")
    if picture is not None and picture.suffix not in _PICTURES:
        raise InvalidArgumentError(f"--plot: expected a name that ends in .png or .svg, got {picture}")
    async with IotoClient(account_id=check_account(options.account), trust_env=True) as client:
        fetched = await client.metric.fetch(device, [query])
    found = fetched[0] if fetched else Metric()
    if found.error is not None:
        sys.stderr.write(f"ioto-async: {metric} of {device}: {found.error}\n")
        return 1
    rows = point_rows(found, device, options.statistic)
    if not rows:
        sys.stderr.write(f"ioto-async: there is no metric {metric} of {device} with these dimensions\n")
    if format is not None:
        with open_table(format, out, options.dimension_names()) as table:
            table.write(rows)
    if is_table and rows:
        _print_points(found, rows, device, metric, options.statistic)
    if (graph or picture is not None) and rows:
        _show(Series.of(found, device, metric, options.statistic, unit=unit), graph=graph, picture=picture)
    return 0


async def list_all(cloud: str, *, namespace: str | None, metric: str | None, output: RecordFormat) -> int:
    """Print the metrics of a device cloud, and return the exit status.

    Raises:
        CallError: they could not be listed.
    """
    listing = Listing(output, _LISTED, cells={"dimensions": _dimensions})
    async with (
        IotoClient(trust_env=True) as client,
        aclosing(client.metric.walk(cloud, namespace=namespace, metric=metric)) as keys,
    ):
        async for key in keys:
            listing.add(attrs.asdict(key, recurse=False))
    listing.finish(f"{cloud} has no such metrics")
    return 0


def _show(series: Series, *, graph: bool, picture: Path | None) -> None:
    if series.is_empty:
        sys.stderr.write("ioto-async: no samples, so there is nothing to draw\n")
        return
    if graph:
        width = shutil.get_terminal_size().columns
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        plain = _encodable(_BRAILLE) != _BRAILLE
        sys.stdout.write(_encodable(draw(series, width=width, height=_HEIGHT, colour=colour, plain=plain)))
    if picture is not None:
        plot(series, picture)


def _print_points(found: Metric, rows: Iterable[PointRow], device: str, metric: str, statistic: str) -> None:
    series = Series.of(found, device, metric, statistic, unit=None)
    sys.stdout.write(_encodable(f"{series.title}: {series.subtitle}") + "\n")  # a table would wrap its title
    print_rows(
        ("time (UTC)", statistic, "samples"),
        ((iso_date(row["timestamp"]), _number(row["value"]), _number(row["count"])) for row in rows),
        right=(statistic, "samples"),
    )


def _encodable(text: str) -> str:
    """*text* with a ? for each character that stdout cannot encode."""
    return text.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def _dimensions(dimensions: Mapping[str, JSON]) -> str:
    return ",".join(f"{name}={text_of(value)}" for name, value in dimensions.items()) or "{}"
