"""The sans-IO core: what a caption session does, with no socket, clock or model in it.

Everything here but :mod:`streaming.driver` and what it is made of can be tested with bytes alone.
"""
