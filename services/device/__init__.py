"""Know the devices: enrolment, the directory of groups and users, check-in."""
