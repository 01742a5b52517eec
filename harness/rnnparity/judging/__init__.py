"""What is right: the truth, the unit, the verdict on an outcome, and why one fails.

truth        the recurrence in higher precision
unit         how far rounding alone carries a right implementation
chaos        where judging makes sense
reference    truth, unit and that, of a case
limit        how many units pass
verdict      an outcome against its reference
difference   how far a quantity is from the truth, in units
calls        calls in other ways, which must not matter
steps        single steps from an implementation's own states
other_rows   rows of a large batch that have no unit
precision    in which precision products really ran
assess       the verdict, explained
outputs      the same of outputs that somebody saved
explanation  what is said of a failure
diagnosis    which known mistake it is
mistakes     the known mistakes
relation     where it is wrong, and what of the truth it equals there
location     which operation is off, where it is none of them
"""
