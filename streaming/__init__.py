"""The sans-IO core: what a caption session does, with no socket, clock or model in it.

Everything here but :mod:`streaming.driver` can be tested with bytes alone.
"""
