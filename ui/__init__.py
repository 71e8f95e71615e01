"""The Qt desktop; talks to the local API only."""
