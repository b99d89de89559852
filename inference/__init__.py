"""Adapters to the models, and the scheduler that batches work for them across sessions."""

import os

# onnxruntime (1.29 and later) reports its use over the network, under an id that it keeps in the
# user's home, from the moment it is imported, unless this is said before. What captions people's
# speech has nothing to report to anybody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
