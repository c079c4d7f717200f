"""What a call costs, as ratios within one run: ``python -m benchmarks``. Needs the extra ``bench``.

The machine's speed drifts, and other jobs run on it. So everything that is compared takes turns in short slices in one
process, and what counts is the median of the ratios of slices that were neighbours; calls per second are shown only to
give an idea. The server runs in a process and, where there are two, on a core of its own.
"""
