"""Timing: which sizes, the method, what comes of it. Nothing here judges numbers.

sizes           the presets, from what others published
bare_products   the matrix products alone, timed beside implementations
contestants     implementations made ready to be timed, in a worker
turns           blocks in turns, in a worker
statistics      medians, paired ratios, intervals
card            an NVIDIA card: its caches, its clock, its name
machine         the best that this machine does, and what makes it unstable
noise           what is no difference in a run
bench           a whole run: processes, verification, records
table           the timings in a terminal
pyperf_format   the samples as pyperf reads them
comparison      two runs
trials          the method's own test: does the interval cover the truth?
"""
