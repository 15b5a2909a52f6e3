"""Stage 3: learn a task that has a reward, going on from skills."""
