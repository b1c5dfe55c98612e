"""What experiment folders hold, through one `reader`: a `tree` whose records are read when they are asked for.

`compare`, `export` and `validate` are built on it, and so are the tables, figures and pages of `unlearning.reporting`.
"""
