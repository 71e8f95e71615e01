"""SQLite store: records, orders, transactions, search."""
