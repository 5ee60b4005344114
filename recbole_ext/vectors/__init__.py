"""Where item vectors come from: one file per source, each with its settings."""
