"""Take in elevation events and report on them."""
