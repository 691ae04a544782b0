"""The verbs that draw conclusions: an overview, a trend, counts by user and application."""
