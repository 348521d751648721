"""The config: its model, the YAML files it is read from, and reloading."""
