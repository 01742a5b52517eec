"""The work of a check: what is to be done, in which process, and what is shared.

plan       who, on what, where and how
check      carrying a plan out
keeping    records as they are made
one_check  an implementation on a case and a device, judged
here       driving checks on this machine
cluster    spreading them over a Dask cluster
expected   failures that are expected
resuming   whether a run can be gone on with, and from where
work       what a worker is asked: pure functions
processes  worker processes
serving    their own side: beginning, answering, ending
elsewhere  worker processes of another Python
leftovers  what a worker leaves behind, or takes too much of
parcels    the files of a task: labels in place of paths, sent to who lacks them
answers    what a worker sends back: plain data, checked
examiner   one implementation and its processes
outputs    a run without implementations: outputs that somebody saved
exported   cases written as files, for runtimes in any language
baseline   what `torch.nn.RNN` made of each case
shared     references, kept while they are needed
"""
