"""One index on many machines: they take photos in together, and each searches a part. Extras `ray` and `postgres`.

    sharing.py    which part holds a photo, and what is asked of the parts; pure
    partition.py  one part: vectors of its photos in an index of its own, which follows the catalog
    scatter.py    a library whose vectors are in parts: asks them all, and puts their answers together
    serving.py    parts as deployments of Ray Serve, each on a pair of replicas
    ingesting.py  decoding and encoding as stages of Ray Data
    session.py    being connected to a cluster of Ray

Only the last three import Ray, and only when they are used. Knows the packages below, no commands and no pages.
"""
