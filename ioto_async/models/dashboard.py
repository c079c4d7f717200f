"""Records of the Dashboard controller (reference, section 7)."""

from datetime import datetime
from typing import Any, Final

import attrs

from ..settings import Period, in_seconds, or_none, period
from .record import Record

__all__ = ["Dashboard", "Range", "Widget", "WidgetAction"]


_seconds: Final = or_none(period(above_zero=False))


def _in_seconds(value: Period | None) -> float | None:
    return None if value is None else in_seconds(value)


@attrs.define(kw_only=True)
class Range(Record):
    """The span of time that is shown."""

    anchor: str | None = None
    """``absolute``, or ``relative`` (the service's default)."""
    start: datetime | None = None
    """Where an absolute range begins."""
    period: float | None = attrs.field(default=None, converter=_in_seconds, validator=_seconds)
    """Seconds; 28 days by default. A `datetime.timedelta`, and text such as ``"1h"``, become seconds."""
    refresh: float | None = attrs.field(default=None, converter=_in_seconds, validator=_seconds)
    """Seconds between two updates; 60 by default. Converted as ``period`` is."""
    override: bool | None = None
    """Whether the range that the user has chosen is ignored."""
    timezone: str | None = None
    """``local`` (the service's default) or ``utc``."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class WidgetAction(Record):
    """What a click on a widget does."""

    type: str | None = None
    """Such as ``trigger``, ``url`` or ``dashboard``."""
    target: str | None = None
    """Name of an automation, URL, or dashboard, by type."""
    conditions: list[Any] | None = None
    """When; the first that is true is used."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class Widget(Record):
    """One element of a dashboard. Which members count depends on its type."""

    actions: list[WidgetAction] | None = None
    """What clicks do."""
    accept: str | None = None
    """MIME types that a file input takes."""
    anchor: dict[str, Any] | None = None
    """Edges that the widget sticks to."""
    axes: dict[str, Any] | None = None
    """Axes and their labels."""
    cloud_id: str | None = None
    """Device cloud that the data come from."""
    columns: list[Any] | None = None
    """Columns of a table."""
    css: list[Any] | None = None
    """Style rules."""
    datetime: str | None = None
    """Mode of a date and time picker."""
    default_value: str | None = None
    """What an input holds at first."""
    dimensions: dict[str, Any] | None = None
    """Dimensions of the metric."""
    field: str | None = None
    """Field of the database model."""
    fields: list[Any] | None = None
    """Further fields."""
    fixed: bool | None = None
    """Whether the widget cannot be edited."""
    form: str | None = None
    """Form that it belongs to."""
    form_field: str | None = None
    """Field of that form."""
    footer: str | None = None
    """Text below."""
    format: str | None = None
    """How numbers and text are shown."""
    framed: bool | None = None
    """Whether it has a frame."""
    header: str | None = None
    """Text above."""
    height: str | None = None
    id: str | None = None
    """Key, of its own inside the dashboard."""
    icon: str | None = None
    """Name of an icon."""
    input: str | None = None
    """Kind of input."""
    items: str | None = None
    """What an input offers, as JSON text."""
    label: str | None = None
    legend: dict[str, Any] | None = None
    left: str | None = None
    """Position from the left: 0 to 1, or ``rest``."""
    limit: float | None = None
    """Items at most."""
    max: float | None = None
    """End of the scale."""
    min: float | None = None
    """Beginning of the scale."""
    metric: str | None = None
    """Name of the metric."""
    model: str | None = None
    """Database model."""
    multiple: bool | None = None
    """Whether more than one can be selected."""
    namespace: str | None = None
    """Namespace of the metric."""
    options: dict[str, Any] | None = None
    """Anything else."""
    page_size: float | None = None
    """Rows in a page of a table."""
    pivot: str | None = None
    """Column that a table turns around."""
    placeholder: str | None = None
    """Hint in an empty input."""
    prefix: str | None = None
    """Text before the value."""
    presentation: str | None = None
    """Style of a graph."""
    range: Range | None = None
    """Span of time, instead of the dashboard's."""
    region: str | None = None
    """AWS region of the metric."""
    rows: float | None = None
    """Rows of a text area."""
    show: str | None = None
    """Expression that says whether the widget is visible."""
    statistic: str | None = None
    """Statistic of the metric."""
    subtitle: str | None = None
    """Second title of a table."""
    suffix: str | None = None
    """Text behind the value."""
    text: str | None = None
    """Content that does not change."""
    ticks: float | None = None
    """Number of ticks."""
    timezone: str | None = None
    """Time zone of a date input."""
    title: str | None = None
    top: str | None = None
    """Position from the top."""
    type: str | None = None
    """Kind of widget."""
    units: str | None = None
    """Units of the metric."""
    url: str | None = None
    """Where an image, a video or a page is."""
    validate: str | None = None
    """Regular expression that an input must match."""
    width: str | None = None
    """Part of the viewport: 0 to 1."""
    z: float | None = None
    """Place in the stack of widgets."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class Dashboard(Record):
    """A page of widgets."""

    account_id: str | None = None
    """Account that owns it."""
    css: list[Any] | None = None
    """Style rules."""
    emulate: str | None = None
    """Type of device that the designer pretends to be."""
    fixed: bool | None = None
    """Whether it is locked at run time."""
    framed: bool | None = None
    """Whether widgets have frames."""
    id: str
    """Key of the dashboard."""
    layout: str | None = None
    """Layout engine; ``grid`` by default."""
    live: bool | None = None
    """Whether data are shown as they come."""
    name: str | None = None
    range: Range | None = None
    """Span of time that its widgets show."""
    refresh: float | None = attrs.field(default=None, converter=_in_seconds, validator=_seconds)
    """Seconds between two updates. Converted as the ``period`` of a `Range` is."""
    toolbar: bool | None = None
    """Whether there is a toolbar."""
    type: str | None = None
    """``page`` or ``dashboard``."""
    widget_css: list[Any] | None = None
    """Style rules that widgets begin with."""
    widgets: list[Widget] | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)
