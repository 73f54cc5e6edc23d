"""The plugin host: finds plugins, takes them through the stages of ``records.STAGES``, and keeps what came of it."""
