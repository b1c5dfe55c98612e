"""Unintended memorisation: what a small language model learns by heart, and how well a repair makes it forget.

A recurrent network learns a book, character by character, with a few sentences in it that hold a secret. Each method
gets the rows that a secret touches, and what should have stood there; the exposure of the secrets and the perplexity of
the rest of the book are measured before and after.
"""
