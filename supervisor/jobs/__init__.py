"""What a job is: its handler, its arguments, when it is tried again. Nothing here knows the database."""
