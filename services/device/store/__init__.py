"""Keep devices, enrolment tokens and groups in SQL."""
