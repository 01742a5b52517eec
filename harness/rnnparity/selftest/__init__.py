"""Is the verdict itself right, and are the intervals of timings?

verdict      no right implementation may fail, no mistake may pass
drawing      the random cases
right_ways   further correct ways to compute the recurrence
soundness    right implementations and ways, judged
sensitivity  mistakes, judged
rules        other suites' rules on the same results
findings     what was found, and when it is a failure
tables       the same as text
trials       timings of a baseline against itself
"""
