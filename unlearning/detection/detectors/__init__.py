"""The detectors. Each ranks rows by one idea of what a wrong label looks like, then draws a line through the ranking.

All of them read the given labels only.
"""
