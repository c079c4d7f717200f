"""What the project costs, beside what else could be used: ``python -m benchmarks``. Needs the extra ``bench``.

The machine's speed drifts, and other jobs run on it. So what is compared takes turns in one run, and what counts is the
median of the ratios of turns of the same round; absolute figures stand beside a reference loop. Servers run in
processes and, where there are two, on a core of their own. With the extra ``bench-peers`` more clients take part.
"""
