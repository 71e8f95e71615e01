"""Local API: HTTP and server-sent events on loopback, for the desktop and the command line."""
