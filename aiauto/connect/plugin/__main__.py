"""`python -m aiauto.connect.plugin`."""

from aiauto.connect.plugin import main

main()
