"""The kinds of noise, one idea a file."""
