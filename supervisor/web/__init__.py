"""The HTTP interface of a process."""
