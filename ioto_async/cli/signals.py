"""The signals that end a command."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

__all__ = ["ending_signals", "told_of_ending_signals"]


def ending_signals() -> list[signal.Signals]:
    """SIGINT, SIGTERM, and SIGHUP unless it is ignored, as nohup has it."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


@contextlib.contextmanager
def told_of_ending_signals(tell: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Call *tell* with each signal that would end the process, in the running loop, instead of that."""
    loop = asyncio.get_running_loop()
    signals = ending_signals()
    for number in signals:
        loop.add_signal_handler(number, tell, number)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
