"""Other services, behind the ports: whom policy asks and tells."""
