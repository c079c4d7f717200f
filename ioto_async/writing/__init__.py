"""Samples written as they come: a bounded buffer, an outcome for each, three ways out. Imports floors 0 to 3."""

from .errors import BufferFullError, UnwrittenError
from .link import MetricLink
from .options import WriterOptions
from .sample import Dimension, Sample
from .writer import Writer

__all__ = ["BufferFullError", "Dimension", "MetricLink", "Sample", "UnwrittenError", "Writer", "WriterOptions"]
