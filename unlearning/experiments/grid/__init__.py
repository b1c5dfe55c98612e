"""Many cells: `plan` says what is missing, `sweep` runs it, in this process, in `workers`, or on a Ray `cluster`.

`cells` runs one and writes down what goes wrong there, `locks` keep two processes from one folder, `signals` stop a
run from outside. The results do not depend on who ran what.
"""
