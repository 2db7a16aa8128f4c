"""Engines run the building of single scenes over many scans. Each has `run(jobs, workers) -> Iterator[SceneReport]`,
reports coming in as they are done."""
