"""Tell how the objects that a server holds are listed, found and shown, kind by kind."""
