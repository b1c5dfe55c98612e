"""Repairing a model of your own."""
