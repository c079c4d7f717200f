"""Metrics as rows and as data frames, for which pandas or polars is imported when it is asked for."""

from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypedDict

from .metric import Metric, Point, is_of_nothing
from .value import JSON, json_text

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["MetricRow", "Metrics"]


class MetricRow(TypedDict):
    """One point, or the failure of one item of a request; see `Metric` and `Point` for the members."""

    device_id: str | None
    id: str | None
    namespace: str | None
    metric: str | None
    dimensions: dict[str, Any]
    statistic: str | None
    period: float | None
    timestamp: datetime | None
    value: float | None
    count: float | None
    error: str | None


_NUMBERS: Final = ("period", "value", "count")


class Metrics(list[Metric]):
    """What a request for metrics has answered, and what several have: ``Metrics([*first, *second])``.

    In tables ``device_id`` tells of which device a row is, ``statistic`` what its value is, and ``id`` which item of
    the request it answers, if the item had one.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # by pydantic, which is not needed for anything else

        return core_schema.no_info_after_validator_function(cls, handler.generate_schema(list[Metric]))

    def to_rows(self) -> list[MetricRow]:
        """The points as mappings: one row for each, and a metric without points has none.

        A point without samples has no ``value``, unless that is their count or sum, which is 0.
        An item that failed has one row, with its ``error`` and without ``timestamp``, ``value`` and ``count``.
        """
        return list(self._rows())

    def _rows(self) -> Iterator[MetricRow]:
        for metric in self:
            failure = [] if metric.error is None else [Point()]
            for point in (*failure, *(metric.points or ())):
                yield MetricRow(
                    device_id=metric.device_id,
                    id=metric.id,
                    namespace=metric.namespace,
                    metric=metric.metric,
                    dimensions=dict(metric.dimensions or {}),
                    statistic=metric.statistic,
                    period=metric.period,
                    timestamp=point.timestamp,
                    value=None if is_of_nothing(metric.statistic, point.count) else point.value,
                    count=point.count,
                    error=metric.error,
                )

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows of `to_rows` as a data frame of pandas.

        Columns are those of `MetricRow`, with one for each dimension, named as `pandas.json_normalize` does
        (``dimensions.Device``), in place of ``dimensions``. Dimensions are text, ``timestamp`` is in UTC, and numbers
        are floats, NaN where there is none.

        Raises:
            ModuleNotFoundError: pandas is not installed; the extra ``pandas`` has it.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise _missing(error, "pandas", "to_pandas") from None
        types = {"timestamp": "datetime64[us, UTC]", **dict.fromkeys(_NUMBERS, "float64")}
        # Text is what pandas makes of it, which depends on its version.
        series = {name: pandas.Series(values, dtype=types.get(name)) for name, values in self._columns().items()}
        return pandas.DataFrame(series)

    def to_polars(self) -> "polars.DataFrame":
        """The rows of `to_rows` as a data frame of polars; the columns are those of `to_pandas`, with nulls.

        Raises:
            ModuleNotFoundError: polars is not installed; the extra ``polars`` has it.
        """
        try:
            import polars
        except ModuleNotFoundError as error:
            raise _missing(error, "polars", "to_polars") from None
        columns = self._columns()
        types = {"timestamp": polars.Datetime("us", "UTC"), **dict.fromkeys(_NUMBERS, polars.Float64())}
        return polars.DataFrame(columns, schema={name: types.get(name, polars.String()) for name in columns})

    def _columns(self) -> dict[str, list[Any]]:
        """The rows turned round, with a column for each dimension."""
        rows = self.to_rows()
        columns: dict[str, list[Any]] = {}
        for name in MetricRow.__annotations__:
            values = [*map(itemgetter(name), rows)]
            if name == "dimensions":
                for dimension in dict.fromkeys(dimension for each in values for dimension in each):
                    columns[f"dimensions.{dimension}"] = [_text(each.get(dimension)) for each in values]
            else:
                columns[name] = values
        return columns


def _text(value: JSON) -> str | None:
    """A dimension's value as text, which it is if the service has read it back; where an item failed, JSON of it."""
    return value if value is None or isinstance(value, str) else json_text(value)


def _missing(error: ModuleNotFoundError, package: str, method: str) -> ModuleNotFoundError:
    from .._install import install_command  # for this alone

    if error.name != package:
        return error  # installed, but broken
    return ModuleNotFoundError(
        f"{package} is not installed, which {method} needs: {install_command(package)}", name=package
    )
