"""Arrays and plain values to pictures.

`figures` and `features` draw one repair, `boards` and `training_board` write for TensorBoard; `canvas` is what all
figures of the program are drawn on, and `palette` gives each method its look.
"""
