"""Benchmarks: the speed targets of the design, each next to what a user would pick instead, in the same run.

`python -m benchmarks [p1|p3|p5] [--quick] [--json]`. Absolute figures drift with the machine's neighbours by up to two
times, so that only ratios of pairs measured in turn (A B A B) count. Every benchmark checks that the work was done.
"""
