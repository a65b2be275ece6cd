"""Vector indexes: which rows are nearest. The only door to faiss."""
