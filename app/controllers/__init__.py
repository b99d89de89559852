"""HTTP handlers, one module for each part of the interface."""
