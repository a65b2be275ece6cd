"""Text indexes: which rows are about something. The only door to tantivy."""
