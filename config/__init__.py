"""What a site sets: the schema, its loader and the commented defaults."""
