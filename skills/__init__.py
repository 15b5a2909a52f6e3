"""Skill methods, one file each: what z is, and the reward it earns. Imports rl."""
