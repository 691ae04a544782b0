"""Find out what is to be known of a file, without trusting the file: see `child`, `inspector` and `trust`."""
