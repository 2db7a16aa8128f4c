"""HATCH data: 3D scans -> per-patch correspondence, action strings, questions -> Parquet shards."""

__version__ = "0.1.0"
