"""An installation's configuration: the models, the strict reading of YAML, the watched store."""
