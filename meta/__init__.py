"""Stage 2: learning to learn, from task families that are hand-made or proposed by skills."""
