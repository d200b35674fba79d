"""Reads and writes files that may come from others, with checks and in bounded memory."""
