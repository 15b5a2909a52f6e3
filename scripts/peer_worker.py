"""Steps a peer's SAC on HalfCheetah-v5 on request: `peer_worker.py sb3|sbx THREADS [DEVICE]`.

Runs in a Python of its own that has stable-baselines3 or sbx-rl (scripts/bench.py starts it with
--peer-python). Every line on stdin is a number of env steps to take, one update each; the answer
is one line of JSON with the seconds it took. A first line says that the worker is warm.
"""

import json
import os
import sys
import time


def main() -> None:
    """Warm up, then serve until stdin closes."""
    name, threads = sys.argv[1], int(sys.argv[2])
    device = sys.argv[3] if len(sys.argv) > 3 else "cpu"
    answers, sys.stdout = sys.stdout, sys.stderr
    if name == "sbx":
        # XLA sizes its thread pool by the cores it may use when it starts
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])
        if device == "cpu":
            os.environ["JAX_PLATFORMS"] = "cpu"
        from sbx import SAC
    else:
        import torch

        torch.set_num_threads(threads)
        from stable_baselines3 import SAC
    import gymnasium
    from stable_baselines3.common.callbacks import BaseCallback

    class Serve(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.left = 300  # warm-up: compilation, caches
            self.start = (0.0, 0.0)

        def _on_step(self) -> bool:
            self.left -= 1
            if self.left > 0:
                return True
            wall, cpu = time.perf_counter(), time.process_time()
            row = {"wall": wall - self.start[0], "cpu": cpu - self.start[1]}
            print(json.dumps(row), file=answers, flush=True)
            line = sys.stdin.readline().strip()
            self.left = int(line or 0)
            self.start = (time.perf_counter(), time.process_time())
            return self.left > 0

    where = {} if name == "sbx" else {"device": device}
    model = SAC("MlpPolicy", gymnasium.make("HalfCheetah-v5"), seed=0, learning_starts=100, **where)
    model.learn(10**9, callback=Serve())


if __name__ == "__main__":
    main()
