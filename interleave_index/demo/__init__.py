"""The demo: real photos and drawn scenes, five queries of different kinds, tables and a report."""
