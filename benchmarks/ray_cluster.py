"""A Ray cluster of three nodes on this machine, one killed in the middle of a build: it ends, with the same bytes.

python benchmarks/ray_cluster.py --scenes synthetic:20
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import click
from interruption import checksums, done
from ray.cluster_utils import Cluster

from hatch_data import build, settings
from hatch_data.recipe import DataRecipe


@click.command()
@click.option("--scenes", multiple=True, default=["synthetic:20"], show_default=True)
@click.option("--set", "overrides", multiple=True, default=["frames.every=6", "pairs.per_frame=2"], show_default=True)
def main(scenes: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Build undisturbed by one process, then on the cluster; exit code 1 where anything differs."""
    typed = settings.load(DataRecipe, settings.resolve("default", "data"), overrides)
    folder = Path(tempfile.mkdtemp(prefix="hatch-benchmark-"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    killed: list[int] = []
    try:
        build.run(build.plan(list(scenes), folder / "whole", typed), 1)
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        plan = build.plan(list(scenes), folder / "out", typed)

        def kill() -> None:
            while len(finished := done(folder / "out")) < len(plan.refs) // 3:
                time.sleep(0.05)
            cluster.remove_node(nodes[1], allow_graceful=False)
            killed.append(len(finished))

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        build.run(plan, engine="ray", address=cluster.address)
        killer.join(30)
        same = checksums(folder / "out") == checksums(folder / "whole")
        print(f"a node killed when {killed} of {len(plan.refs)} scans were done; the same bytes: {same}")
    finally:
        cluster.shutdown()
        shutil.rmtree(folder)
    sys.exit(0 if same and killed else 1)


if __name__ == "__main__":
    main()
