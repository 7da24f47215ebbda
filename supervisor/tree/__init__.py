"""Actors and their supervision; knows no job and no SQL."""
