"""What layers can do, do wrong, refuse or lack: a row a layer, a column a capability.

capabilities  the columns, and the cases that try each
board         what came of it, as data
trying        running a layer on the cases of all columns
deciding      from what came of the cases to the state of each cell
empty         sequences of length 0, which torch's layers refuse
shrinking     the smallest sizes at which a wrong cell is still wrong
known         which findings a cell is about
scripts       a wrong cell as a script that needs the layer's library and NumPy
writing       the board as files: data, Markdown, a page, the scripts
"""
