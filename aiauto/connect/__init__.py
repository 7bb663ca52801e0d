"""The Connect protocol over aiohttp."""
