"""Fuzzing: sound scans and shards, spoilt at random, are given to whatever reads them.

    samples     a small sound scan for every form of every layout, and a small build
    mutate      spoils one or a few places of a folder, the same for the same seed
    targets     what reads it: a build, verify, inspect, merge, audit, the trainer
    guarded     processes in which that is done: watched for what they write, their memory and their time

`python -m tests.fuzz --inputs 2000` tells for each target what became of that many inputs.
"""
