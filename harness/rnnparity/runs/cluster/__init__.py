"""Runs spread over a Dask cluster; imported only if one is asked for.

connecting  to its scheduler
calls       its workers: who is there, and calls on them
offers      what a worker offers: whether it can take part
spreading   blocks of checks, to whom they go, and what comes back
on_worker   what a worker does with a block
crews       the processes that a worker keeps from block to block
"""
