"""Rows and vectors on disk: SQL is the truth, FAISS a disposable accelerator. Knows no model, photo file or query.

`Store` in `store.py` is the one commit boundary; import it from there, since it loads SQLAlchemy.
"""
