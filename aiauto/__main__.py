"""``python -m aiauto``: the same as ``aiauto``."""

from aiauto.cli import main

if __name__ == "__main__":
    main()
