"""From a query to ranked, grounded hits. Knows the store and the interface protocol; knows no files and no models.

resolve -> plan and candidates -> score -> judgement -> ground, composed in engine.py.
"""
