"""``python -m aiauto.cli``: the same as ``aiauto``."""

from aiauto.cli import main

if __name__ == "__main__":
    main()
