"""Generated from protos/segue/v1 by `make protos`; never edited."""
