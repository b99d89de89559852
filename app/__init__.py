"""The composition root: settings, controllers, the stream endpoint and the command line."""
