"""The two exceptions that carry a message for a person; not for failures inside the harness."""


class UsageError(Exception):
    """Input that cannot be used: one line says what was given, what was expected, what to do.

    On the command line it is printed alone, without a traceback, and the exit code is 2.
    """


class ContractViolation(Exception):
    """An implementation returned what the contract does not allow (a shape, a dtype, a type)."""
