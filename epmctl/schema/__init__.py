"""The JSON Schema of documents: `documents.json`, made from the tables that the loader reads by."""
