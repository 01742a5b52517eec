"""The project's whole matrix as a pytest suite, for anybody's implementation.

pytest --pyargs rnnparity.conformance --rnn-impl my_rnn.py
"""
