"""One cell of an experiment, a line of stages: each is a file, works alone, and finds again what it has done.

`settings` (what is asked for) -> `folder` (where it goes) -> `setup` and `rows` (which rows that means) -> `training`
-> `detecting` -> `repairing` (the in-memory repair of `unlearning.repairs`) -> `scoring` (what only an oracle knows).
`choices` are the repairs to make, `stages` says when one is finished, `line` runs them in order, `reopening` goes back
from the files of a cell to the cell.
"""
