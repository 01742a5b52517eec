"""How fast: what passed takes turns in shared processes. Nothing here judges numbers.

bench          a whole timing run
spreading      one whose jobs are spread over a Dask cluster
on_worker      what a worker of a cluster does: a job
session        its jobs: what passed takes turns, and is judged
culprits       who brings a shared process down, or spoils it
workers        its processes
samples        what the samples of all processes say
contestants    implementations made ready to be timed, in a worker
turns          blocks in turns, in a worker
bare_products  the matrix products alone, timed beside implementations
control        work that is the same in every run
statistics     medians, paired ratios, intervals
noise          what is no difference in a run
machine        the best that this machine does, and what makes it unstable
comparison     two runs compared
"""
