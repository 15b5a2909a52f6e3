"""Downstream tasks: rewards that somebody wants."""
