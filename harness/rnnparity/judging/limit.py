"""The limit: the largest error that passes, in units."""

# An error that many roundings add up to is close to normal with a standard deviation of at most one
# unit, and the unit comes from 32 replicas, so that their ratio has Student's t distribution with
# 32 degrees of freedom. Of 10^8 elements, as many as a large run has, one is above 7.7, and one
# above 10 has a probability of 0.002.
LIMIT = 10.0
