"""HATCH training: shards -> patch alignment, supervised and action-then-answer training of Qwen-VL models."""
