"""Furnished rooms made procedurally: what `synthetic:N` is made of.

plan (rooms and doorways) -> furniture (made of pieces) -> furnished (one list of boxes) -> free_space -> walk (poses);
raycast and textures turn boxes and poses into colour and depth.
"""
