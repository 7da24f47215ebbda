"""Logs and traces: subscribers to what the tree reports."""
