"""``python -m particle_transformer.cli`` is `aot`."""

from particle_transformer.cli.main import main

main()
