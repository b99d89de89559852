"""What can be seen of a running server: metrics, traces, and the log's trace ids."""
