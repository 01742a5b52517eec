"""What is told of a run, from its records alone: in a terminal, as a page, for other programs.

summary       what is said of its checks, as plain data: the sentence, the matrix
times         what is said of its timings, as plain data
first_screen  who is right, who is fastest, can the numbers be trusted
failing       what failed, grouped by implementation and reason
error_table   errors by quantity, as plain data
speed_table   speed by size, as plain data
commands      the command that repeats a check or a timing
terminal      progress, and tables in a terminal
timing_table  the table of timings in a terminal
listing       what `rnnparity list` shows
charts        the pictures, as Vega-Lite
crossover     from which size on a card is faster
page          one HTML file
markdown      Markdown, with SVG
junit         JUnit XML
trend         several runs side by side
writing       all of them, into a folder
notebook      what Jupyter shows of a run
"""
