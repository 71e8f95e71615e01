"""Signed objects by file, by QR picture and by pasted text."""
