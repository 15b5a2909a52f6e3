"""Reinforcement learning: the vocabulary, learners and what they share. Imports torch and numpy."""
