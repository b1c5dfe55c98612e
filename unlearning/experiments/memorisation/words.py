"""The characters there are, and the sentences of canaries. Nothing is imported, so that help need not wait."""

from __future__ import annotations

ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789!\"'()*,-.:;?[]_`"
"""The characters there are; the number of each is its place here."""
DIGITS = "0123456789"
"""What secrets are made of."""
CARRIERS = (
    "`my own telephone number is ",
    "`the white rabbit's number is ",
    "`the hatter's number is ",
    "`the cheshire cat's number is ",
    "`the queen of hearts' number is ",
    "`the mock turtle's number is ",
)
"""What stands in front of the secrets, one each."""
AFTER = ",' said the dodo. "
"""What stands behind them."""
LONGEST_WINDOW = min(map(len, CARRIERS))
"""A window of at most so many characters that ends in front of a secret holds nothing but its sentence."""
