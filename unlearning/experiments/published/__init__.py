"""Published tables: what made each, what it shows, and whether it can be had again.

A table is one file `configs/NAME.toml` (see `config`). Its numbers are read from published records or from what a
computer has just made (`measured`); `reproducing` runs it and sets both side by side.
"""
