"""The project's whole matrix as a pytest suite, for anybody's implementation.

pytest --pyargs rnnparity.conformance --rnn-impl my_rnn.py

    matrix            implementation x device x case
    evaluation        running and judging one, in the test's own process
    test_conformance  the tests
    pytest_plugin     their options
"""
