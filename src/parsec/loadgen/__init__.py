"""The load generator behind `parsec bench` and bench/.

In: a Plan. Out: a Result with an exact account of the answers. Start with parsec.loadgen.load.
"""
