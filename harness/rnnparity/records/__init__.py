"""What is kept of a run: typed records, and the files they are in.

check          the record of a check
timing         the record of a timing
run            a whole run, made or read from its folder
files          writing and reading the lines
disk           writing that loses nothing that was there
lock           one process at a time that writes
environment    what a run was made on
pyperf_format  timings as pyperf reads them
"""
