"""How the results database came to its present shape, one Alembic revision a file."""
