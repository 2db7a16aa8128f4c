"""Pictures of rows and one page that shows a build: what `hatch-data inspect` writes.

folder of shards -> choose -> Row -> picture (overlay, sketch) -> PNG, page
"""
