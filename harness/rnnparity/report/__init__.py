"""A run as something to read: one HTML page, Markdown with pictures, JUnit XML. From records alone.

summary     what is said of it: the sentence, the matrix, failures, timings
crossover   from which size on a card is faster
charts      the pictures, as Vega-Lite
page        HTML
markdown    Markdown, with SVG
junit       JUnit XML
trend       several runs side by side
writing     all of them, into a folder
notebook    what Jupyter shows of a run
"""
