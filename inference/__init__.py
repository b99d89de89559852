"""Adapters to the models, and the scheduler that batches work for them across sessions."""
