"""The command line `aot`."""
