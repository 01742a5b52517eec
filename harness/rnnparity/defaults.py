"""What a user need not say: the same for the command line and Python."""

# Seconds that an import, or one case with its compilation, may take on a slow and busy machine.
TIMEOUT = 120.0

# Processes that a timing run repeats in, and seconds that the rounds of one job take in each.
PROCESSES, BUDGET = 5, 0.8

# The smallest change between two runs that counts, as a share.
THRESHOLD = 0.05

# The quick run times its few sizes in fewer processes, and for less long.
QUICK_PROCESSES, QUICK_BUDGET = 3, 0.4
