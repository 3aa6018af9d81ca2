"""Workers that do something real; each is run with python -m."""
