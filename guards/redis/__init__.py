"""Shared state in Redis. Every change is one script or command, so that it is whole or not at all.

Keys have one prefix. What one script touches has one hash tag (``{…}``), so that it lies on one
node of a cluster.
"""
