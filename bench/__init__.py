"""Quality and speed, measured on real speech with real models. One command each."""
