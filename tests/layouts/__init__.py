"""Writers that put the analytic room on disk in each layout, with that layout's own traps.

Each module has `LAYOUT`, the cameras `COLOR` and `DEPTH`, `COLOR_FROM_DEPTH`, `METRES_PER_UNIT`, and functions:
`world(poses)` (the poses in the world that the layout would write), `write(folder, poses)`, `frame_id(n)`,
`color_file(folder, n)`, `depth_file(folder, n)` and `set_pose(folder, n, matrix)` (None removes it).
"""
