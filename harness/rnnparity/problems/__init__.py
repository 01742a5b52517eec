"""What implementations are run on: cases, and the arrays that are drawn or read for them.

cases       everything that decides the numbers, and its id
presets     sets of cases by name
edges       cases at the edges of kernels
sizes       what is timed under a name
regimes     how weights and inputs are drawn, by name
structures  structured weights and inputs
arrays      a case's arrays, laid out as `torch.nn.RNN` takes them
setup       the same, time-major, as computations by hand take them
quantities  what is compared, by name
dtypes      the floating-point formats
assumed     what was assumed of a user's weights, in words
given       weights and inputs of a user, kept with the run
saved       arrays in files that anybody wrote
text        numbers that were written as text: tables, and lists in brackets
outputs     outputs that a port wrote, fitted to their case
weights     a folder: reading and writing weights, of modules, state dicts and files
digits      the trained model that comes with the package
"""
