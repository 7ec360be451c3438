"""How fast and how small: a mock of the Messages API, floors written by hand, and one table of what is reached."""
